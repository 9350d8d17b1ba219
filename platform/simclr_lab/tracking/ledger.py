"""The ledger, read: what has been run, by key. Nothing else remembers it."""

import json
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray

from simclr_lab.cell import CellRecord, Outcome, State, StudyRecord
from simclr_lab.spaces.tree import parse_assignment
from simclr_lab.tracking import home, schema
from simclr_lab.tracking.mlflow_runs import MlflowRuns, read_arrays, read_cells

_PAGE = 1000
_PROBE_SECONDS = 5.0
_KEYS_PER_QUERY = 50


class LedgerUnavailable(RuntimeError):  # noqa: N818 - reads as what it says
    """The ledger cannot be reached; the message names it and the reason."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"the ledger at {uri} cannot be reached: {reason}")


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

    def reachable(self) -> None:
        """Raises LedgerUnavailable, after seconds at most, if the ledger does not answer."""
        try:
            if self.tracking_uri.startswith("http"):
                with urllib.request.urlopen(f"{self.tracking_uri}/health", timeout=_PROBE_SECONDS):
                    pass
            else:
                _probe_sqlite(self.tracking_uri)
                self.client.search_experiments(max_results=1)
        except (OSError, urllib.error.URLError, ValueError, sqlite3.Error) as error:
            raise LedgerUnavailable(self.tracking_uri, str(error)) from error
        except Exception as error:  # sqlalchemy's and MLflow's own, by whatever name
            reason = str(error).strip().splitlines()[0]
            raise LedgerUnavailable(self.tracking_uri, reason) from error

    def cells(self, keys: Sequence[str] | None = None) -> dict[str, CellRecord]:
        """Key -> record, of all cells or of those asked for.

        Where two runs hold one key, a finished one counts before others, then the newest.
        """
        found: dict[str, CellRecord] = {}
        for run in sorted(self._cell_runs(keys), key=_preference):
            record = to_record(run)
            found[record.key] = record
        return found

    def _cell_runs(self, keys: Sequence[str] | None) -> Iterator[Run]:
        kind = f"tags.`{schema.TAG_KIND}` = '{schema.KIND_CELL}'"
        if keys is None:
            yield from self._search(kind)
            return
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), _KEYS_PER_QUERY):
            for key in wanted[start : start + _KEYS_PER_QUERY]:
                yield from self._search(f"{kind} and tags.`{schema.TAG_KEY}` = '{key}'")

    def _search(self, text: str, experiments: Sequence[str] | None = None) -> Iterator[Run]:
        ids = experiments or [e.experiment_id for e in self.client.search_experiments()]
        token = None
        while True:
            page = self.client.search_runs(ids, text, max_results=_PAGE, page_token=token)
            for run in page:
                tags = run.data.tags
                if schema.TAG_SUPERSEDED_BY not in tags and schema.TAG_REPLAY_OF not in tags:
                    yield run
            token = page.token
            if not token:
                return

    def study(self, name: str, scale: str) -> StudyRecord | None:
        """A study's parent run with its cells."""
        experiment = self.client.get_experiment_by_name(scale)
        if experiment is None:
            return None
        text = (
            f"tags.`{schema.TAG_KIND}` = '{schema.KIND_STUDY}' "
            f"and tags.`{schema.TAG_STUDY}` = '{name}'"
        )
        run = next(self._search(text, [experiment.experiment_id]), None)
        if run is None:
            return None
        return StudyRecord(
            study=name,
            scale=scale,
            kind=run.data.tags[schema.TAG_STUDY_KIND],
            metric=run.data.tags[schema.TAG_METRIC],
            cells=tuple(read_cells(self.client, run.info.run_id)),
        )

    def history(self, key: str) -> pd.DataFrame:
        """Every metric row of a cell: metric, step, timestamp_ms, value."""
        record = self.cells([key])[key]
        assert record.run_id is not None
        rows = [
            {"metric": name, "step": m.step, "timestamp_ms": m.timestamp, "value": m.value}
            for name in record.metrics
            for m in self.client.get_metric_history(record.run_id, name)
        ]
        columns = ["metric", "step", "timestamp_ms", "value"]
        return pd.DataFrame(rows, columns=columns).sort_values(["metric", "step"])

    def arrays(self, key: str) -> dict[str, NDArray[Any]]:
        """``<protocol>/<name>`` -> array behind the cell's evaluations. KeyError if unknown."""
        record = self.cells([key])[key]
        assert record.run_id is not None
        return read_arrays(self.client, record.run_id)

    def runs(self, study: str | None = None, scale: str | None = None) -> pd.DataFrame:
        """One row per cell, of everything, of a scale, or of a study at a scale.

        Columns: key, seed, arm, study, scale, state, outcome, reason, method_version, data_digest,
        world_size, threads, hardware, attempt, run_id, the recipe's dotted fields, the metrics. A
        study's cell that has no record yet is a row with state ``missing`` and the fields in its
        arm's name.
        """
        if study is None:
            records = [r for r in self.cells().values() if scale in (None, r.scale)]
            return pd.DataFrame([_row(record) for record in records])
        if scale is None:
            raise ValueError("a study is read at one scale: give scale too")
        place = self.study(study, scale)
        if place is None:
            return pd.DataFrame()
        known = self.cells([cell.key for cell in place.cells])
        rows = []
        for cell in place.cells:
            row = {"key": cell.key, "seed": cell.seed, "state": State.MISSING.value}
            row |= parse_assignment(cell.arm) if "=" in cell.arm else {}
            if cell.key in known:
                row = _row(known[cell.key])
            rows.append(row | {"arm": cell.arm, "study": study, "scale": scale})
        return pd.DataFrame(rows)

    def mark_unfinished(self, keys: Iterable[str]) -> None:
        """Runs left RUNNING by a process that died; only for who has checked their leases."""
        for key, record in self.cells(list(keys)).items():
            if record.state is State.RUNNING and record.run_id:
                self.client.set_tag(record.run_id, schema.TAG_STATE, State.UNFINISHED.value)
                self.client.set_terminated(record.run_id, status="KILLED")
                self.runs_client._runs[key] = record.run_id


def _probe_sqlite(uri: str) -> None:
    """Raises sqlite3.Error or OSError where MLflow would try to open the file for minutes."""
    if not uri.startswith("sqlite:///"):
        return
    path = Path(uri.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=_PROBE_SECONDS)) as connection:
        connection.execute("pragma schema_version")


def _preference(run: Run) -> tuple[bool, int]:
    finished = run.data.tags.get(schema.TAG_STATE) == State.FINISHED.value
    return finished, run.info.start_time


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
    known = {value for key, value in vars(schema).items() if key.startswith("TAG_")}
    return name.startswith(schema.PREFIX) and not any(name.startswith(tag) for tag in known)


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
