"""How records become MLflow runs: find or create, params, tags, statuses, artifacts. Synchronous.

One experiment per scale; one run per attempt of a cell, with no study on it; one parent run per
study and scale whose artifact ``cells.json`` joins them, with tags for cells added since.
"""

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from simclr_lab.cell import CellRecord, EpochReport, State, StudyCell, StudyRecord
from simclr_lab.tracking import schema
from simclr_lab.tracking.arrays import Arrays, pack
from simclr_lab.tracking.home import artifact_root

_STATUS = {
    State.RUNNING: "RUNNING",
    State.FINISHED: "FINISHED",
    State.FAILED: "FAILED",
    State.UNFINISHED: "KILLED",
    State.PRUNED: "KILLED",
}
_BATCH = 900
_PAGE = 1000
MAX_TAG = 7_900


def param_text(value: Any) -> str:
    """A recipe's value as text that ``json.loads`` gives back, plain for text."""
    return value if isinstance(value, str) else json.dumps(value)


class MlflowRuns:
    """Writes records; every method may be called again with the same arguments.

    Args:
        tracking_uri: the ledger.
        diff: changes of tracked files against the commit, kept with every run that is touched.
    """

    def __init__(self, tracking_uri: str, diff: str = "") -> None:
        if tracking_uri.startswith("sqlite:///"):
            Path(tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self.tracking_uri = tracking_uri
        self.client = MlflowClient(tracking_uri)
        self._diff = diff
        self._experiments: dict[str, str] = {}
        self._runs: dict[tuple[str, int], str] = {}
        self._current: dict[str, str] = {}
        self._told: dict[str, dict[str, str]] = {}
        self._studies: dict[tuple[str, str], str] = {}
        self._held: dict[str, set[tuple[str, int, str]]] = {}

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
        """The newest run with these tags, in any experiment: a key belongs to no scale."""
        return next(self.search(filters), None)

    def search(
        self, filters: Mapping[str, str], experiments: Sequence[str] | None = None
    ) -> Iterator[Run]:
        """Every run with these tags that is not deleted, the newest first."""
        text = " and ".join(f"tags.`{name}` = '{value}'" for name, value in filters.items())
        ids = experiments or [e.experiment_id for e in self.client.search_experiments()]
        token = None
        while True:
            page = self.client.search_runs(ids, text, max_results=_PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def start(self, record: CellRecord) -> str:
        """The cell's run, created if it is new, marked running."""
        known = (record.key, record.attempt) in self._runs
        run_id = self._current[record.key] = self.run_of(record)
        tags, running = cell_tags(record), record.state is State.RUNNING
        if known or not running or run_id not in self._told:  # a new run says all of it already
            self.tag(run_id, tags)
            self.client.update_run(run_id, status=_STATUS[record.state])
        self._told[run_id] = tags
        return run_id

    def run_of(self, record: CellRecord) -> str:
        """The run of a cell's attempt, found or created."""
        place = record.key, record.attempt
        if place not in self._runs:
            found = self._find_cell(*place)
            if found is not None:
                self._held[found.info.run_id] = self._rows(found)
            run = found or self._create(record)
            self._describe(run, record)
            self._runs[place] = run.info.run_id
        return self._runs[place]

    def _find_cell(self, key: str, attempt: int) -> Run | None:
        """The newest run of a cell's attempt. Only cells have a key: one tag is enough to ask."""
        for run in self.search({schema.TAG_KEY: key}):
            if int(run.data.tags.get(schema.TAG_ATTEMPT, 0)) == attempt:
                return run
        return None

    def _create(self, record: CellRecord) -> Run:
        tags = cell_tags(record)
        run = self.client.create_run(
            self.experiment(record.scale),
            tags={name: value[:MAX_TAG] for name, value in tags.items()},
            run_name=f"{record.key[:8]} seed {record.seed}",
        )
        self._told[run.info.run_id] = tags
        return run

    def _describe(self, run: Run, record: CellRecord) -> None:
        """The recipe and the diff; also of a run whose creation was cut short before its params."""
        run_id, place = run.info.run_id, run.info.artifact_uri
        artifacts = get_artifact_repository(place, tracking_uri=self.tracking_uri)
        missing = record.recipe.keys() - run.data.params.keys()
        if missing:
            params = [Param(n, param_text(v)) for n, v in record.recipe.items() if n in missing]
            _log_text(artifacts, json.dumps(dict(record.recipe), indent=2), schema.ARTIFACT_RECIPE)
            self.client.log_batch(run_id, params=params)
        if self._diff:
            _log_text(artifacts, self._diff, schema.ARTIFACT_DIFF)

    def _rows(self, run: Run) -> set[tuple[str, int, str]]:
        """(metric, step, value) of everything that a run of an earlier launch holds."""
        return {
            (name, row.step, repr(row.value))
            for name in run.data.metrics
            for row in self.client.get_metric_history(run.info.run_id, name)
        }

    def report(self, key: str, reports: Iterable[EpochReport]) -> None:
        """Add metrics; the same report again adds nothing (one row per key, step, value, time).

        An epoch that was computed again, because its checkpoint was lost, has another time and
        other costs; it adds nothing either, since it measured what the run already holds.
        """
        held = self._held.get(self._current[key], set())
        metrics = [
            Metric(name, value, report.timestamp_ms, report.step)
            for report in reports
            if not _repeats(report, held)
            for name, value in report.metrics.items()
        ]
        self._log(key, metrics)

    def _log(self, key: str, metrics: Sequence[Metric]) -> None:
        for start in range(0, len(metrics), _BATCH):
            self.client.log_batch(self._current[key], metrics=metrics[start : start + _BATCH])

    def add_metrics(self, key: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows of metric, step, timestamp_ms and value, as they were read from a ledger."""
        metrics = [
            Metric(row["metric"], row["value"], row["timestamp_ms"], row["step"]) for row in rows
        ]
        self._log(key, metrics)

    def delete(self, filters: Mapping[str, str]) -> int:
        """Mark every run with these tags deleted (``mlflow gc`` removes it); how many."""
        runs = list(self.search(filters))
        for run in runs:
            self.client.delete_run(run.info.run_id)
        return len(runs)

    def keep(self, key: str, arrays: Arrays) -> None:
        """Arrays of a cell's evaluations, as one artifact."""
        with tempfile.TemporaryDirectory(prefix="simclr-arrays-") as folder:
            path = Path(folder) / schema.ARTIFACT_ARRAYS
            path.write_bytes(pack(arrays))
            self.client.log_artifact(self._current[key], str(path))

    def finish(self, record: CellRecord) -> None:
        """State, outcome, reason and evaluations of a cell; ends its run unless it runs.

        Earlier attempts are superseded after that, so that a kill in between loses none.
        """
        run_id = self.run_of(record)
        if record.failure:
            self.client.log_text(run_id, record.failure, schema.ARTIFACT_FAILURE)
        told = self._told.pop(run_id, {})
        tags = {n: v for n, v in cell_tags(record).items() if told.get(n) != v}
        self.tag(run_id, tags)
        self.client.set_terminated(run_id, status=_STATUS[record.state])
        if record.state is State.FINISHED and record.attempt and record.replay_of is None:
            self._supersede_before(record, run_id)

    def _supersede_before(self, record: CellRecord, run_id: str) -> None:
        for run in self.search({schema.TAG_KIND: schema.KIND_CELL, schema.TAG_KEY: record.key}):
            tags = run.data.tags
            earlier = int(tags.get(schema.TAG_ATTEMPT, 0)) < record.attempt
            if earlier and not {schema.TAG_SUPERSEDED_BY, schema.TAG_REPLAY_OF} & tags.keys():
                self.client.set_tag(run.info.run_id, schema.TAG_SUPERSEDED_BY, run_id)

    def open_study(self, study: StudyRecord, launch: str | None = None) -> str:
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
            earlier = {cell.key: cell for cell in read_cells(self.client, run)}
        run_id = self._studies[study.study, study.scale] = str(run.info.run_id)
        cells = earlier | {cell.key: cell for cell in study.cells}
        self.client.log_dict(
            run_id, {"cells": [vars(cell) for cell in cells.values()]}, schema.ARTIFACT_CELLS
        )
        if study.definition:
            self.client.log_text(run_id, study.definition, schema.ARTIFACT_STUDY)
        launches = {f"{schema.TAG_LAUNCH}{when}": what for when, what in study.launches.items()}
        if launch is not None:
            launches[launch] = json.dumps({"cells": len(study.cells)})
        self.tag(run_id, launches)
        self.client.set_terminated(run_id, status="FINISHED")
        return run_id

    def add_cell(self, study: StudyRecord, cell: StudyCell, number: int) -> None:
        """One more cell of an open study, its ``number``-th, beside the list that was written.

        The list is not written anew for it: proposals of a long sweep would cost ever more.
        """
        text = json.dumps([number, cell.arm, cell.seed, cell.role])
        run_id = self._studies.get((study.study, study.scale))
        if run_id is None or len(text) > MAX_TAG:
            self.open_study(replace(study, cells=(cell,)))
        else:
            self.tag(run_id, {f"{schema.TAG_CELL}{cell.key}": text})

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, cut at what the ledger holds."""
        items = [RunTag(name, value[:MAX_TAG]) for name, value in tags.items()]
        if items:
            self.client.log_batch(run_id, tags=items)


def _repeats(report: EpochReport, told: set[tuple[str, int, str]]) -> bool:
    """Whether all that a report measured, its costs aside, was told before."""
    measured = {
        (name, report.step, repr(float(value)))
        for name, value in report.metrics.items()
        if not name.startswith(schema.COST_PREFIX)
    }
    return bool(measured) and measured <= told


def read_cells(client: MlflowClient, run: Run) -> list[StudyCell]:
    """The cells of a parent run: those in its artifact, then those added since, in their order."""
    content = json.loads(read_text(client, run.info.run_id, schema.ARTIFACT_CELLS))
    listed = [StudyCell(**cell) for cell in content["cells"]]
    known, added = {cell.key for cell in listed}, []
    for name, text in run.data.tags.items():
        key = name.removeprefix(schema.TAG_CELL)
        if key != name and key not in known:
            number, *place = json.loads(text)
            added.append((number, StudyCell(key, *place)))
    return listed + [cell for _, cell in sorted(added, key=lambda each: each[0])]


def _log_text(artifacts: ArtifactRepository, text: str, name: str) -> None:
    """A text artifact, without asking the ledger again where the run's artifacts are."""
    with tempfile.TemporaryDirectory(prefix="simclr-text-") as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        artifacts.log_artifact(str(path))


def read_text(client: MlflowClient, run_id: str, artifact: str) -> str:
    """A text artifact that is known to be there."""
    from mlflow.artifacts import load_text

    run = client.get_run(run_id)
    return str(load_text(f"{run.info.artifact_uri}/{artifact}"))


def read_arrays(client: MlflowClient, run_id: str) -> bytes | None:
    """The packed arrays of a cell's evaluations; None where they left none."""
    names = [artifact.path for artifact in client.list_artifacts(run_id)]
    if schema.ARTIFACT_ARRAYS not in names:
        return None
    with tempfile.TemporaryDirectory(prefix="simclr-arrays-") as folder:
        return Path(client.download_artifacts(run_id, schema.ARTIFACT_ARRAYS, folder)).read_bytes()


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
        schema.TAG_REASON_KIND: record.reason_kind,
        schema.TAG_ENCODER_SHA256: record.encoder_sha256,
        schema.TAG_REPLAY_OF: record.replay_of,
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
