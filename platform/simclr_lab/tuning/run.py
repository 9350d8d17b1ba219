"""Run a study's cells on Ray Tune. Whatever stops it, the ledger and the checkpoints stay true."""

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import tune

from simclr_lab.data.sources import Dataset
from simclr_lab.training.cluster import slots
from simclr_lab.training.shared_data import share
from simclr_lab.tuning.searcher import CellSearcher
from simclr_lab.tuning.source import CellSource
from simclr_lab.tuning.trial import CellTrial, trial_resources

PROCESS_RETRIES = 2
"""A cell whose process was lost goes on from its checkpoint in a new one, this many times."""


def run_cells(
    source: CellSource,
    dataset: Dataset,
    *,
    storage: Path,
    callbacks: Sequence[tune.Callback] = (),
) -> None:
    """Run every cell that ``source`` hands out; return when it is exhausted.

    Ray must be connected (training.cluster.connect). Each cell's events reach ``callbacks`` as Tune
    results and ``source`` as ends. KeyboardInterrupt passes through: running cells stay unfinished
    with the checkpoint of their last epoch.
    """
    scratch = storage / "scratch" / f"tune-{uuid.uuid4().hex[:12]}"
    shared = share(dataset)
    trainable: Any = tune.with_resources(
        tune.with_parameters(CellTrial, shared=shared), trial_resources
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=CellSearcher(source, str(storage), slots()),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
            trial_name_creator=lambda trial: str(trial.config["task"].key),
        ),
        run_config=tune.RunConfig(
            name=scratch.name,
            storage_path=str(scratch.parent),
            callbacks=list(callbacks),
            failure_config=tune.FailureConfig(max_failures=PROCESS_RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
