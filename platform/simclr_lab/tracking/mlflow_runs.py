"""How records become MLflow runs: find or create, params, tags, statuses, artifacts. Synchronous.

One experiment per scale; one run per cell, with no study on it; one parent run per study and scale
whose artifact ``cells.json`` joins them.
"""

import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray

from simclr_lab.cell import CellRecord, EpochReport, State, StudyCell, StudyRecord
from simclr_lab.tracking import schema
from simclr_lab.tracking.home import artifact_root
from simclr_lab.tracking.provenance import git_diff
from simclr_lab.tracking.tracker import Arrays

_STATUS = {
    State.RUNNING: "RUNNING",
    State.FINISHED: "FINISHED",
    State.FAILED: "FAILED",
    State.UNFINISHED: "KILLED",
    State.PRUNED: "KILLED",
}
_BATCH = 900
MAX_TAG = 7_900


def param_text(value: Any) -> str:
    """A recipe's value as text that ``json.loads`` gives back, plain for text."""
    return value if isinstance(value, str) else json.dumps(value)


class MlflowRuns:
    """Writes records; every method may be called again with the same arguments."""

    def __init__(self, tracking_uri: str) -> None:
        if tracking_uri.startswith("sqlite:///"):
            Path(tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self.tracking_uri = tracking_uri
        self.client = MlflowClient(tracking_uri)
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, str] = {}

    def experiment(self, scale: str) -> str:
        """The scale's experiment; a local ledger's artifacts get an absolute folder."""
        if scale not in self._experiments:
            found = self.client.get_experiment_by_name(scale)
            if found is not None:
                self._experiments[scale] = found.experiment_id
            else:
                local = not self.tracking_uri.startswith("http")
                location = (artifact_root() / scale).as_uri() if local else None
                self._experiments[scale] = self.client.create_experiment(scale, location)
        return self._experiments[scale]

    def find(self, filters: Mapping[str, str]) -> Run | None:
        """The live run with these tags, in any experiment: a key belongs to no scale."""
        text = " and ".join(f"tags.`{name}` = '{value}'" for name, value in filters.items())
        ids = [experiment.experiment_id for experiment in self.client.search_experiments()]
        runs = self.client.search_runs(ids, text, max_results=10)
        live = [run for run in runs if schema.TAG_SUPERSEDED_BY not in run.data.tags]
        return live[0] if live else None

    def start(self, record: CellRecord) -> str:
        """The cell's run, created if it is new, marked running."""
        run_id = self.run_of(record)
        self._tag(run_id, cell_tags(record))
        self.client.update_run(run_id, status=_STATUS[record.state])
        return run_id

    def run_of(self, record: CellRecord) -> str:
        """Find or create the run of the record's key."""
        if record.key not in self._runs:
            run = self.find({schema.TAG_KEY: record.key, schema.TAG_KIND: schema.KIND_CELL})
            self._runs[record.key] = run.info.run_id if run else self._create(record)
        return self._runs[record.key]

    def _create(self, record: CellRecord) -> str:
        name = f"{record.key[:8]} seed {record.seed}"
        run = self.client.create_run(
            self.experiment(record.scale), tags=cell_tags(record), run_name=name
        )
        run_id = str(run.info.run_id)
        params = [Param(name, param_text(value)) for name, value in record.recipe.items()]
        self.client.log_batch(run_id, params=params)
        self.client.log_dict(run_id, dict(record.recipe), schema.ARTIFACT_RECIPE)
        if diff := git_diff():
            self.client.log_text(run_id, diff, schema.ARTIFACT_DIFF)
        return run_id

    def report(self, key: str, reports: Iterable[EpochReport]) -> None:
        """Add metrics; the same report again adds nothing (one row per key, step, value, time)."""
        metrics = [
            Metric(name, value, report.timestamp_ms, report.step)
            for report in reports
            for name, value in report.metrics.items()
        ]
        for start in range(0, len(metrics), _BATCH):
            self.client.log_batch(self._runs[key], metrics=metrics[start : start + _BATCH])

    def keep(self, key: str, arrays: Arrays) -> None:
        """Arrays of a cell's evaluations, as one artifact."""
        with tempfile.TemporaryDirectory(prefix="simclr-arrays-") as folder:
            path = Path(folder) / schema.ARTIFACT_ARRAYS
            np.savez_compressed(path, allow_pickle=False, **arrays)
            self.client.log_artifact(self._runs[key], str(path))

    def finish(self, record: CellRecord) -> None:
        """State, outcome, reason and evaluations of a cell; ends its run unless it runs."""
        run_id = self.run_of(record)
        self._tag(run_id, cell_tags(record))
        self.client.set_terminated(run_id, status=_STATUS[record.state])

    def open_study(self, study: StudyRecord, launch: str) -> str:
        """The study's parent run with its list of cells; cells of earlier launches stay."""
        place = {
            schema.TAG_STUDY: study.study,
            schema.TAG_SCALE: study.scale,
            schema.TAG_KIND: schema.KIND_STUDY,
        }
        run = self.find(place)
        if run is None:
            tags = place | {
                schema.TAG_SCHEMA: schema.SCHEMA,
                schema.TAG_STUDY_KIND: study.kind,
                schema.TAG_METRIC: study.metric,
            }
            run = self.client.create_run(
                self.experiment(study.scale), tags=tags, run_name=f"study {study.study}"
            )
            earlier: dict[str, StudyCell] = {}
        else:
            earlier = {cell.key: cell for cell in read_cells(self.client, run.info.run_id)}
        run_id = str(run.info.run_id)
        cells = earlier | {cell.key: cell for cell in study.cells}
        self.client.log_dict(
            run_id, {"cells": [vars(cell) for cell in cells.values()]}, schema.ARTIFACT_CELLS
        )
        if study.definition:
            self.client.log_text(run_id, study.definition, schema.ARTIFACT_STUDY)
        self._tag(run_id, {launch: json.dumps({"cells": len(study.cells)})})
        self.client.set_terminated(run_id, status="FINISHED")
        return run_id

    def _tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        items = [RunTag(name, value[:MAX_TAG]) for name, value in tags.items()]
        self.client.log_batch(run_id, tags=items)


def read_cells(client: MlflowClient, run_id: str) -> list[StudyCell]:
    """The cells in a parent run's artifact."""
    from mlflow.artifacts import load_dict

    run = client.get_run(run_id)
    content = load_dict(f"{run.info.artifact_uri}/{schema.ARTIFACT_CELLS}")
    return [StudyCell(**cell) for cell in content["cells"]]


def read_arrays(client: MlflowClient, run_id: str) -> dict[str, NDArray[Any]]:
    """The arrays in a cell's artifact; none where its evaluations left none."""
    names = [artifact.path for artifact in client.list_artifacts(run_id)]
    if schema.ARTIFACT_ARRAYS not in names:
        return {}
    with tempfile.TemporaryDirectory(prefix="simclr-arrays-") as folder:
        path = client.download_artifacts(run_id, schema.ARTIFACT_ARRAYS, folder)
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)


def cell_tags(record: CellRecord) -> dict[str, str]:
    """A record's tags; what is not known yet is left out."""
    known = {
        schema.TAG_SCHEMA: schema.SCHEMA,
        schema.TAG_KIND: schema.KIND_CELL,
        schema.TAG_KEY: record.key,
        schema.TAG_SEED: record.seed,
        schema.TAG_SCALE: record.scale,
        schema.TAG_STATE: record.state.value,
        schema.TAG_OUTCOME: record.outcome.value if record.outcome else None,
        schema.TAG_REASON: record.reason,
        schema.TAG_ATTEMPT: record.attempt,
        schema.TAG_DATA_DIGEST: record.data_digest,
        schema.TAG_METHOD_VERSION: record.method_version,
        schema.TAG_WORLD_SIZE: record.world_size,
        schema.TAG_THREADS: record.threads,
    }
    tags = {name: str(value) for name, value in known.items() if value is not None}
    tags |= {f"{schema.TAG_EVALUATION}{name}": key for name, key in record.evaluations.items()}
    return tags | {f"{schema.PREFIX}{name}": value for name, value in record.tags.items()}


def launch_tag() -> str:
    """Name of the tag of a launch that happens now."""
    return f"{schema.TAG_LAUNCH}{time.strftime('%Y-%m-%dT%H-%M-%S', time.gmtime())}"
