"""Snapshots: the same bytes after a round trip, nothing twice, nothing better replaced."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tracking_records import FINISHED, KEY, record

from simclr_lab.cell import CellRecord, EpochReport, Outcome, State, StudyCell, StudyRecord
from simclr_lab.identity import evaluation_key
from simclr_lab.recipes import named_recipe
from simclr_lab.tracking import schema
from simclr_lab.tracking.lease import Lease
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.mlflow_runs import MlflowRuns
from simclr_lab.tracking.snapshot import SnapshotError, export_snapshot, import_snapshot
from simclr_lab.tuning.plan import Action, Replicate, current, plan_cell

CELLS = [
    StudyCell(KEY, "loss.temperature=0.1", 0),
    StudyCell("e" * 20, "loss.temperature=0.5", 0),
    StudyCell("b" * 20, "loss.temperature=0.5", 7, "tuning"),
]
ARRAYS = {"linear/test_predictions": np.arange(9, dtype=np.int16), "tsne/h": np.ones((2, 2))}
STUDY = StudyRecord("temperature", "demo", "ablation", "linear/test_top1", tuple(CELLS), "x = 1\n")


def write(runs: MlflowRuns, cell: CellRecord, *accuracies: float, **end: object) -> None:
    runs.start(cell)
    for epoch, accuracy in enumerate(accuracies, start=1):
        metrics = {"linear/test_top1": accuracy, "train/loss": float("nan")}
        runs.report(cell.key, [EpochReport(epoch, 10 * epoch, 1_700_000_000_000 + epoch, metrics)])
    runs.keep(cell.key, ARRAYS)
    runs.finish(replace(cell, **FINISHED | end))


@pytest.fixture
def home_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Switches to another user's home and gives its ledger."""

    def switch(name: str) -> Ledger:
        monkeypatch.setenv("SIMCLR_LAB_HOME", str(tmp_path / name))
        return Ledger()

    return switch


@pytest.fixture
def laptop(home_of) -> Ledger:
    """Cells in every state, one of them in its second attempt, and a study."""
    ledger = home_of("laptop")
    runs = MlflowRuns(ledger.tracking_uri, diff="+x = 1\n")
    write(runs, record(), 39.0, 40.0)
    write(runs, record(attempt=1, encoder_sha256="f" * 64), 39.5, 41.0)
    write(runs, record(key="b" * 20), 10.0, outcome=Outcome.DIVERGED, metrics={})
    runs.start(record(key="c" * 20))
    failed = {"state": State.FAILED, "outcome": None, "reason": "OSError: x", "failure": "a\nb"}
    write(runs, record(key="d" * 20), **failed, reason_kind="lost_node")
    runs.open_study(STUDY, f"{schema.TAG_LAUNCH}2026-01-01T00-00-00")
    return ledger


def test_a_round_trip_gives_the_same_bytes(laptop: Ledger, home_of, tmp_path: Path) -> None:
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    assert export_snapshot(laptop, first) == (4, 1)
    cluster = home_of("cluster")
    assert import_snapshot(cluster, first) == {"imported": 4, "studies": 1}
    export_snapshot(cluster, second)
    assert first.read_bytes() == second.read_bytes()
    before, after = laptop.cells(), cluster.cells()
    assert before.keys() == after.keys()
    assert after[KEY].metrics == {"linear/test_top1": 41.0} | after[KEY].metrics
    assert (after[KEY].attempt, after[KEY].encoder_sha256) == (1, "f" * 64)
    assert after[KEY].tags["owner"] == "somebody"
    assert after[KEY].tags["imported_from"].startswith("first.parquet ")
    assert after["c" * 20].state is State.UNFINISHED  # in a snapshot nothing runs
    failed = after["d" * 20]
    assert (failed.reason, failed.reason_kind) == ("OSError: x", "lost_node")
    assert cluster.text(failed.run_id, schema.ARTIFACT_FAILURE) == "a\nb"
    assert cluster.text(failed.run_id, schema.ARTIFACT_DIFF) == "+x = 1\n"
    assert cluster.studies() == laptop.studies()
    arrays = cluster.arrays(KEY)
    assert arrays.keys() == ARRAYS.keys()
    assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS)
    assert cluster.arrays("c" * 20) == {}  # it was never judged


def test_the_same_snapshot_again_adds_nothing(laptop: Ledger, home_of, tmp_path: Path) -> None:
    export_snapshot(laptop, tmp_path / "x.parquet")
    cluster = home_of("cluster")
    import_snapshot(cluster, tmp_path / "x.parquet")
    ids = {key: cell.run_id for key, cell in cluster.cells().items()}
    assert import_snapshot(cluster, tmp_path / "x.parquet") == {"known": 4, "studies": 1}
    assert {key: cell.run_id for key, cell in cluster.cells().items()} == ids


def test_an_interrupted_import_is_finished_by_the_next(
    laptop: Ledger, home_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_snapshot(laptop, tmp_path / "x.parquet")
    cluster = home_of("cluster")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MlflowRuns, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            import_snapshot(cluster, tmp_path / "x.parquet")
    assert cluster.cells()[KEY].state is State.UNFINISHED
    import_snapshot(cluster, tmp_path / "x.parquet")
    export_snapshot(cluster, tmp_path / "y.parquet")
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "y.parquet").read_bytes()


def test_finished_stays_and_unfinished_is_superseded(
    laptop: Ledger, home_of, tmp_path: Path
) -> None:
    export_snapshot(laptop, tmp_path / "x.parquet")
    cluster = home_of("cluster")
    runs = MlflowRuns(cluster.tracking_uri)
    write(runs, record(key="d" * 20), 50.0)  # finished here, failed there
    runs.start(record())  # unfinished here, finished there
    runs.finish(replace(record(), state=State.UNFINISHED))
    counts = import_snapshot(cluster, tmp_path / "x.parquet")
    assert (counts["imported"], counts["known"]) == (3, 1)
    cells = cluster.cells()
    assert cells["d" * 20].metrics["linear/test_top1"] == 50.0
    assert not cells["d" * 20].elsewhere
    assert (cells[KEY].state, cells[KEY].attempt, cells[KEY].elsewhere) == (State.FINISHED, 1, True)


def test_a_cell_that_runs_here_is_left_alone(laptop: Ledger, home_of, tmp_path: Path) -> None:
    export_snapshot(laptop, tmp_path / "x.parquet")
    cluster = home_of("cluster")
    with Lease(f"cell-{KEY}"):
        counts = import_snapshot(cluster, tmp_path / "x.parquet")
    assert (counts["imported"], counts["running here"]) == (3, 1)
    assert KEY not in cluster.cells()


def test_what_is_no_snapshot_is_refused_before_anything_is_written(
    laptop: Ledger, home_of, tmp_path: Path
) -> None:
    export_snapshot(laptop, tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    newer = table.replace_schema_metadata({b"simclr.schema": b"99"})
    pq.write_table(newer, tmp_path / "newer.parquet")
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "other.parquet")
    fewer = table.drop_columns(["tags"]).replace_schema_metadata(table.schema.metadata)
    pq.write_table(fewer, tmp_path / "fewer.parquet")
    (tmp_path / "text.parquet").write_text("no")
    cluster = home_of("cluster")
    problems = {
        "newer": "has schema 99, this version reads",
        "other": "no snapshot",
        "fewer": "other columns",
        "text": "cannot be read as Parquet",
        "none": "cannot be read as Parquet",
    }
    for name, problem in problems.items():
        with pytest.raises(SnapshotError, match=problem):
            import_snapshot(cluster, tmp_path / f"{name}.parquet")
    assert cluster.cells() == {}


def test_an_imported_cell_is_never_continued_from_files_that_are_not_here() -> None:
    """Its files are in another store: whatever has to be computed is a new attempt."""
    recipe = named_recipe("demo")
    replicate = Replicate("a", 0, recipe)
    key = plan_cell(replicate, {}, data_digest="d").key
    evaluations = {p: evaluation_key(recipe, p) for p in recipe.evaluation.protocols}
    away = {"imported_from": "x.parquet 1"}

    def plan(state: State, **changes: object) -> tuple[Action, int]:
        known = record(key=key, state=state, tags=away, last_attempt=1, attempt=1, **changes)
        cell = plan_cell(replicate, {key: known}, data_digest="d", retry_failed=True)
        return cell.action, cell.attempt

    whole = {"evaluations": evaluations, "outcome": Outcome.OK}
    assert plan(State.FINISHED, **whole) == (Action.REUSE, 1)
    assert plan(State.FINISHED, outcome=Outcome.OK) == (Action.RUN, 2)
    assert plan(State.UNFINISHED) == (Action.RUN, 2)
    assert plan(State.FAILED) == (Action.RUN, 2)
    half_imported = record(key=key, state=State.UNFINISHED, tags=away)
    finished = record(key=key, state=State.FINISHED, reopened=half_imported, **whole)
    assert current(finished) is finished


def test_snapshots_are_plain_tables(laptop: Ledger, tmp_path: Path) -> None:
    export_snapshot(laptop, tmp_path / "x.parquet")
    rows = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert [row["key"] for row in rows if row["kind"] == "cell"] == [k * 20 for k in "abcd"]
    cell = rows[0]
    assert json.loads(dict(cell["recipe"])["loss.temperature"]) == 0.1
    steps = [row["step"] for row in cell["history"] if row["metric"] == "linear/test_top1"]
    assert steps == [10, 20]
