"""Run a study's cells on Ray Tune. Whatever stops it, the ledger and the checkpoints stay true."""

import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from simclr_lab.data.sources import Dataset
from simclr_lab.training.cluster import capacity
from simclr_lab.training.shared_data import share
from simclr_lab.tuning.listening import CellListener, ListeningCallback
from simclr_lab.tuning.reaper import reap
from simclr_lab.tuning.searcher import CellSearcher, CellStopper, Unplaceable
from simclr_lab.tuning.source import CellSource
from simclr_lab.tuning.trial import CellTrial, trial_resources
from simclr_lab.tuning.watchdog import Watchdog, patience

PROCESS_RETRIES = 2
"""A cell whose process was lost goes on from its checkpoint in a new one, this many times."""


def run_cells(
    source: CellSource,
    dataset: Dataset,
    *,
    storage: Path,
    listeners: Sequence[CellListener] = (),
    halted: Callable[[], bool] = lambda: False,
) -> None:
    """Run every cell that ``source`` hands out; return when it is exhausted or ``halted`` is true.

    Ray must be connected (training.cluster.connect). Each cell's events reach ``listeners``, and
    its end ``source``. KeyboardInterrupt passes through: running cells stay unfinished with the
    checkpoint of their last epoch; once ``halted`` they leave in order, likewise unfinished.

    Raises Unplaceable for cells that no cluster of this size can run, ClusterUnfit for a cluster
    that can run none, both before any is started, and Stuck when cells wait and none runs.
    """
    able = capacity()
    if source.widest() > able.slots:
        raise Unplaceable("a cell of the study", source.widest(), able.slots)
    scratch = storage / "scratch" / f"tune-{uuid.uuid4().hex[:12]}"
    shared = share(dataset)
    trainable: Any = tune.with_resources(
        tune.with_parameters(CellTrial, shared=shared), trial_resources
    )
    searcher = CellSearcher(source, str(storage), able, halted)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
            trial_name_creator=lambda trial: str(trial.config["task"].key),
        ),
        run_config=tune.RunConfig(
            name=scratch.name,
            storage_path=str(scratch.parent),
            stop=CellStopper(searcher),
            callbacks=[ListeningCallback(listeners, searcher), Watchdog(searcher, patience())],
            failure_config=tune.FailureConfig(max_failures=PROCESS_RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
        reap()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
