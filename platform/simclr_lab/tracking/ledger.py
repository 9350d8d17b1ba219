"""The ledger, read: what has been run, by key. Nothing else remembers it."""

import json
import sqlite3
import time
import urllib.error
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray

from simclr_lab.cell import CellRecord, Outcome, State, StudyRecord
from simclr_lab.spaces.tree import parse_assignment
from simclr_lab.tracking import home, probing, schema
from simclr_lab.tracking.arrays import unpack
from simclr_lab.tracking.mlflow_runs import MlflowRuns, read_arrays, read_cells, read_text
from simclr_lab.tracking.unfit import LedgerUnavailable, LedgerUnreadable

__all__ = ["Ledger", "LedgerUnavailable", "LedgerUnreadable"]

_AGAIN_SECONDS = 1.0
_KNOWN_TAGS = tuple(value for name, value in vars(schema).items() if name.startswith("TAG_"))


class Ledger:
    """Reads cells and studies; superseded runs and replays are not there for it."""

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.tracking_uri = tracking_uri or home.tracking_uri()
        self._runs: MlflowRuns | None = None

    @property
    def runs_client(self) -> MlflowRuns:
        """The connection, opened at first use."""
        if self._runs is None:
            self._runs = MlflowRuns(self.tracking_uri)
        return self._runs

    @property
    def client(self) -> MlflowClient:
        """MLflow's own client."""
        return self.runs_client.client

    def reachable(self, *, write: bool = False) -> None:
        """Raises LedgerUnavailable, after seconds at most, if the ledger does not answer.

        Also if it is written in another schema and, where ``write`` is asked for, if it is an
        sqlite file that cannot be written.
        """
        try:
            probing.probe(self.tracking_uri, write=write)
            with probing.first_opening(self.tracking_uri):
                others = self.other_schemas()
            for found in others:
                raise LedgerUnreadable(self.tracking_uri, found, schema.SCHEMA)
        except LedgerUnreadable:
            raise
        except (OSError, urllib.error.URLError, ValueError, sqlite3.Error) as error:
            raise LedgerUnavailable(self.tracking_uri, str(error)) from error
        except Exception as error:  # sqlalchemy's and MLflow's own, by whatever name
            reason = str(error).strip().splitlines()[0]
            raise LedgerUnavailable(self.tracking_uri, reason) from error

    def cells_patiently(self, keys: Sequence[str]) -> dict[str, CellRecord]:
        """``cells``, asked again for as long as a server is away."""
        while True:
            try:
                return self.cells(keys)
            except MlflowException:
                if probing.answers(self.tracking_uri):
                    raise
                time.sleep(_AGAIN_SECONDS)

    def other_schemas(self, current: str = schema.SCHEMA) -> list[str]:
        """Schemas of runs other than the current one, each once, in order."""
        ids = [experiment.experiment_id for experiment in self.client.search_experiments()]
        found: list[str] = []
        while True:
            tag = f"tags.`{schema.TAG_SCHEMA}`"
            text = " and ".join(f"{tag} != '{known}'" for known in (current, *found))
            page = self.client.search_runs(ids, text, max_results=1)
            if not page:
                return sorted(found)
            found.append(page[0].data.tags[schema.TAG_SCHEMA])

    def cells(self, keys: Sequence[str] | None = None) -> dict[str, CellRecord]:
        """Key -> record, of all cells or of those asked for.

        Where several attempts hold one key, a finished one counts before others, then the newest;
        a later attempt that is not finished is the record's ``reopened``.
        """
        every: dict[str, list[Run]] = {}
        for run in self._cell_runs(keys):
            every.setdefault(run.data.tags[schema.TAG_KEY], []).append(run)
        found = {key: _live_record(runs) for key, runs in every.items()}
        return {key: record for key, record in found.items() if record is not None}

    def replays(self, key: str) -> list[CellRecord]:
        """Runs that repeated a cell, the oldest first."""
        runs = [r for r in self._cell_runs([key]) if schema.TAG_REPLAY_OF in r.data.tags]
        return [to_record(run) for run in sorted(runs, key=_attempt)]

    def attempts_in_use(self) -> set[tuple[str, int]]:
        """(key, attempt) whose files may be read again: of records, and of replays under way."""
        used = set()
        for key, record in self.cells().items():
            used |= {(key, each.attempt) for each in (record, record.reopened) if each is not None}
        under_way = {State.RUNNING, State.UNFINISHED}
        for run in self._cell_runs(None):
            if schema.TAG_REPLAY_OF in run.data.tags and to_record(run).state in under_way:
                used.add((run.data.tags[schema.TAG_KEY], _attempt(run)[0]))
        return used

    def _cell_runs(self, keys: Sequence[str] | None) -> Iterator[Run]:
        if keys is None:
            yield from self._search({schema.TAG_KIND: schema.KIND_CELL})
            return
        for key in dict.fromkeys(keys):  # only cells have a key: one tag is enough to ask
            yield from self._search({schema.TAG_KEY: key})

    def _search(
        self, filters: Mapping[str, str], experiments: Sequence[str] | None = None
    ) -> Iterator[Run]:
        for run in self.runs_client.search(filters, experiments):
            found = run.data.tags.get(schema.TAG_SCHEMA, schema.SCHEMA)
            if found != schema.SCHEMA:
                raise LedgerUnreadable(self.tracking_uri, found, schema.SCHEMA)
            yield run

    def study(self, name: str, scale: str) -> StudyRecord | None:
        """A study's parent run with its cells."""
        experiment = self.client.get_experiment_by_name(scale)
        if experiment is None:
            return None
        kind = {schema.TAG_KIND: schema.KIND_STUDY, schema.TAG_STUDY: name}
        run = next(self._search(kind, [experiment.experiment_id]), None)
        return self._to_study(run) if run is not None else None

    def studies(self) -> list[StudyRecord]:
        """Every study at every scale, in the order of their names."""
        found = [self._to_study(r) for r in self._search({schema.TAG_KIND: schema.KIND_STUDY})]
        return sorted(found, key=lambda study: (study.study, study.scale))

    def _to_study(self, run: Run) -> StudyRecord:
        tags, prefix = run.data.tags, schema.TAG_LAUNCH
        return StudyRecord(
            study=tags[schema.TAG_STUDY],
            scale=tags[schema.TAG_SCALE],
            kind=tags[schema.TAG_STUDY_KIND],
            metric=tags[schema.TAG_METRIC],
            cells=tuple(read_cells(self.client, run)),
            definition=self.text(run.info.run_id, schema.ARTIFACT_STUDY),
            launches={n.removeprefix(prefix): v for n, v in tags.items() if n.startswith(prefix)},
        )

    def text(self, run_id: str, artifact: str) -> str:
        """A run's text artifact; empty where it has none of that name."""
        if artifact not in {file.path for file in self.client.list_artifacts(run_id)}:
            return ""
        return read_text(self.client, run_id, artifact)

    def history(self, key: str) -> pd.DataFrame:
        """Every metric row of a cell: metric, step, timestamp_ms, value."""
        rows = self.metric_rows(self.cells([key])[key])
        return pd.DataFrame(rows, columns=["metric", "step", "timestamp_ms", "value"])

    def metric_rows(self, record: CellRecord) -> list[dict[str, Any]]:
        """The same of a record that was read, as plain rows in the order of metric and step."""
        assert record.run_id is not None
        rows = [
            {"metric": name, "step": m.step, "timestamp_ms": m.timestamp, "value": m.value}
            for name in record.metrics
            for m in self.client.get_metric_history(record.run_id, name)
        ]
        return sorted(rows, key=lambda row: (row["metric"], row["step"], row["timestamp_ms"]))

    def epochs_done(self, record: CellRecord) -> int:
        """Epochs that a cell has reported."""
        if record.run_id is None or "train/loss" not in record.metrics:
            return 0
        rows = self.client.get_metric_history(record.run_id, "train/loss")
        return len({row.step for row in rows})

    def arrays(self, key: str) -> dict[str, NDArray[Any]]:
        """``<protocol>/<name>`` -> array behind the cell's evaluations. KeyError if unknown."""
        packed = self.packed_arrays(self.cells([key])[key])
        return unpack(packed) if packed is not None else {}

    def packed_arrays(self, record: CellRecord) -> bytes | None:
        """The same as the bytes of ``arrays.pack``; None where there are none."""
        assert record.run_id is not None
        return read_arrays(self.client, record.run_id)

    def runs(
        self, study: str | None = None, scale: str | None = None, *, role: str = "reported"
    ) -> pd.DataFrame:
        """One row per cell, of everything, of a scale, or of a study at a scale.

        Of a study only the cells in ``role`` are there: those that are results of their arms, or
        with "tuning" the trials that chose the arms' nuisance fields.

        Columns: key, seed, arm, study, scale, state, outcome, reason, reason_kind, method_version,
        data_digest, world_size, threads, hardware, attempt, run_id, the recipe's dotted fields, the
        metrics. A study's cell that has no record yet is a row with state ``missing`` and the
        fields in its arm's name.
        """
        if study is None:
            records = [r for r in self.cells().values() if scale in (None, r.scale)]
            return pd.DataFrame([_row(record) for record in records])
        if scale is None:
            raise ValueError("a study is read at one scale: give scale too")
        place = self.study(study, scale)
        if place is None:
            return pd.DataFrame()
        places = [cell for cell in place.cells if cell.role == role]
        known = self.cells([cell.key for cell in places])
        rows = []
        for cell in places:
            row = {"key": cell.key, "seed": cell.seed, "state": State.MISSING.value}
            row |= parse_assignment(cell.arm) if "=" in cell.arm else {}
            if cell.key in known:
                row = _row(known[cell.key])
            rows.append(row | {"arm": cell.arm, "study": study, "scale": scale})
        return pd.DataFrame(rows)

    def mark_unfinished(self, keys: Iterable[str]) -> None:
        """Runs left RUNNING by a process that died; only for who has checked their leases."""
        for run in self._cell_runs(list(keys)):
            if run.data.tags[schema.TAG_STATE] == State.RUNNING:
                self.client.set_tag(run.info.run_id, schema.TAG_STATE, State.UNFINISHED.value)
                self.client.set_terminated(run.info.run_id, status="KILLED")


def _live_record(runs: Sequence[Run]) -> CellRecord | None:
    """What counts for a key, of all its runs; None where only replays are left."""
    unread = {schema.TAG_SUPERSEDED_BY, schema.TAG_REPLAY_OF}
    live = sorted((run for run in runs if not unread & run.data.tags.keys()), key=_attempt)
    if not live:
        return None
    best = next((run for run in reversed(live) if _finished(run)), live[-1])
    newest = live[-1]
    return replace(
        to_record(best),
        last_attempt=max(_attempt(run)[0] for run in runs),
        reopened=to_record(newest) if _attempt(newest)[0] > _attempt(best)[0] else None,
    )


def _attempt(run: Run) -> tuple[int, int]:
    return int(run.data.tags.get(schema.TAG_ATTEMPT, 0)), run.info.start_time


def _finished(run: Run) -> bool:
    return bool(run.data.tags.get(schema.TAG_STATE) == State.FINISHED)


def to_record(run: Run) -> CellRecord:
    """The record that a cell's run holds."""
    tags = run.data.tags
    prefix = schema.TAG_EVALUATION
    return CellRecord(
        key=tags[schema.TAG_KEY],
        seed=int(tags[schema.TAG_SEED]),
        state=State(tags[schema.TAG_STATE]),
        recipe={name: param_value(name, text) for name, text in run.data.params.items()},
        scale=tags[schema.TAG_SCALE],
        data_digest=tags[schema.TAG_DATA_DIGEST],
        method_version=int(tags[schema.TAG_METHOD_VERSION]),
        outcome=Outcome(tags[schema.TAG_OUTCOME]) if schema.TAG_OUTCOME in tags else None,
        metrics=dict(run.data.metrics),
        evaluations={
            name.removeprefix(prefix): v for name, v in tags.items() if name.startswith(prefix)
        },
        world_size=_integer(tags.get(schema.TAG_WORLD_SIZE)),
        threads=_integer(tags.get(schema.TAG_THREADS)),
        attempt=int(tags.get(schema.TAG_ATTEMPT, 0)),
        reason=tags.get(schema.TAG_REASON),
        reason_kind=tags.get(schema.TAG_REASON_KIND),
        encoder_sha256=tags.get(schema.TAG_ENCODER_SHA256),
        replay_of=tags.get(schema.TAG_REPLAY_OF),
        tags={n.removeprefix(schema.PREFIX): v for n, v in tags.items() if _is_provenance(n)},
        run_id=run.info.run_id,
    )


def param_value(name: str, text: str) -> Any:
    """A recipe's value from its text; a word is text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _is_provenance(name: str) -> bool:
    return name.startswith(schema.PREFIX) and not name.startswith(_KNOWN_TAGS)


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None else None


def _row(record: CellRecord) -> dict[str, Any]:
    return {
        "key": record.key,
        "seed": record.seed,
        "arm": None,
        "study": None,
        "scale": record.scale,
        "state": record.state.value,
        "outcome": record.outcome.value if record.outcome else None,
        "reason": record.reason,
        "reason_kind": record.reason_kind,
        "method_version": record.method_version,
        "data_digest": record.data_digest,
        "world_size": record.world_size,
        "threads": record.threads,
        "hardware": record.tags.get("hardware"),
        "attempt": record.attempt,
        "run_id": record.run_id,
        **record.recipe,
        **record.metrics,
    }
