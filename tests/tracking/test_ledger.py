"""The ledger on a real sqlite MLflow: what is written is read, and saying it twice adds nothing."""

import json
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from simclr_lab.cell import CellRecord, EpochReport, Outcome, State, StudyCell, StudyRecord
from simclr_lab.recipes import named_recipe
from simclr_lab.tracking import mlflow_tracker, probing, schema
from simclr_lab.tracking.ledger import Ledger, LedgerUnavailable
from simclr_lab.tracking.mlflow_runs import MlflowRuns
from simclr_lab.tracking.mlflow_tracker import MlflowTracker, is_permanent


def record(key: str = "a" * 20, seed: int = 0, scale: str = "demo") -> CellRecord:
    return CellRecord(
        key=key,
        seed=seed,
        state=State.RUNNING,
        recipe=named_recipe("demo").flat(),
        scale=scale,
        data_digest="d" * 64,
        method_version=1,
        world_size=1,
        threads=1,
        tags={"hardware": "a machine", "version.torch": "2"},
    )


def report(epoch: int, **metrics: float) -> EpochReport:
    return EpochReport(
        epoch, 10 * epoch, 1_700_000_000_000 + epoch, {"train/loss": 1.0 / epoch} | metrics
    )


REPORTS = [report(1), report(2), report(2, **{"linear/test_top1": 40.0})]
FINISHED = {
    "state": State.FINISHED,
    "outcome": Outcome.OK,
    "evaluations": {"linear": "e1"},
    "metrics": {"linear/test_top1": 40.0},
}


def write_cell(tracker: MlflowTracker, cell: CellRecord) -> None:
    tracker.start(cell)
    for each in REPORTS:
        tracker.report(cell.key, each)
    tracker.finish(replace(cell, **FINISHED))


@pytest.fixture
def uri(own_home) -> str:
    return Ledger().tracking_uri


@pytest.fixture
def written(uri: str) -> Ledger:
    tracker = MlflowTracker(uri)
    write_cell(tracker, record())
    cells = (
        StudyCell("a" * 20, "loss.temperature=0.1", 0),
        StudyCell("b" * 20, "loss.temperature=0.5", 0),
    )
    tracker.open_study(
        StudyRecord("temperature", "demo", "ablation", "linear/test_top1", cells, "x=1")
    )
    assert tracker.close(60)
    assert tracker.errors == []
    return Ledger()


def test_a_record_is_read_as_it_was_written(written: Ledger) -> None:
    (found,) = written.cells().values()
    plain = json.loads(json.dumps(record().recipe))  # tuples come back as lists
    wanted = replace(record(), recipe=plain, **FINISHED)
    for name in (
        "key",
        "seed",
        "state",
        "outcome",
        "recipe",
        "scale",
        "data_digest",
        "evaluations",
    ):
        assert getattr(found, name) == getattr(wanted, name), name
    assert (found.method_version, found.world_size, found.threads, found.attempt) == (1, 1, 1, 0)
    assert found.metrics == {"train/loss": 0.5, "linear/test_top1": 40.0}
    assert found.tags["hardware"] == "a machine"
    run = written.client.get_run(found.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags[schema.TAG_SCHEMA] == schema.SCHEMA


def test_saying_everything_twice_adds_nothing(written: Ledger) -> None:
    before = written.history("a" * 20)
    tracker = MlflowTracker(written.tracking_uri)  # a new process replays the whole cell
    write_cell(tracker, record())
    assert tracker.close(60)
    assert len(Ledger().cells()) == 1
    after = Ledger().history("a" * 20)
    assert after.to_dict("records") == before.to_dict("records")
    assert len(after[after["metric"] == "train/loss"]) == 2
    runs = written.client.search_runs(["1"], f"tags.`{schema.TAG_KIND}` = 'cell'")
    assert len(runs) == 1


def test_an_epoch_computed_again_adds_nothing_and_another_value_does(written: Ledger) -> None:
    """Its checkpoint was lost: the same numbers at another time, at other costs."""
    before = written.history("a" * 20)
    tracker = MlflowTracker(written.tracking_uri)
    tracker.start(record())
    again = report(1, **{"cost/pretraining_seconds": 9.0})
    tracker.report("a" * 20, replace(again, timestamp_ms=again.timestamp_ms + 99))
    tracker.report("a" * 20, EpochReport(2, 20, 1, {"linear/test_top1": 41.0}))
    assert tracker.close(60)
    added = Ledger().history("a" * 20).merge(before, how="left", indicator=True)
    (row,) = added[added["_merge"] == "left_only"].to_dict("records")
    assert (row["metric"], row["value"]) == ("linear/test_top1", 41.0)


def test_a_study_lists_its_cells_missing_ones_too(written: Ledger) -> None:
    place = written.study("temperature", "demo")
    assert place is not None
    assert [cell.key[0] for cell in place.cells] == ["a", "b"]
    frame = written.runs("temperature", "demo").set_index("arm")
    assert frame.loc["loss.temperature=0.1", "linear/test_top1"] == 40.0
    missing = frame.loc["loss.temperature=0.5"]
    assert missing["state"] == "missing"
    assert missing["loss.temperature"] == 0.5
    assert missing["linear/test_top1"] != missing["linear/test_top1"]  # NaN, never 0
    assert written.study("temperature", "laptop") is None
    assert written.runs("other", "demo").empty


def test_cells_of_earlier_launches_stay_in_their_study(written: Ledger) -> None:
    tracker = MlflowTracker(written.tracking_uri)
    more = (StudyCell("c" * 20, "loss.temperature=1.0", 0),)
    tracker.open_study(StudyRecord("temperature", "demo", "ablation", "linear/test_top1", more))
    assert tracker.close(60)
    place = Ledger().study("temperature", "demo")
    assert [cell.key[0] for cell in place.cells] == ["a", "b", "c"]


def test_one_row_per_cell_of_all_studies(written: Ledger) -> None:
    frame = Ledger().runs()
    assert frame["key"].tolist() == ["a" * 20]
    assert frame["loss.temperature"].tolist() == [0.1]
    assert Ledger().runs(scale="laptop").empty
    with pytest.raises(ValueError, match="give scale too"):
        Ledger().runs("temperature")


def test_superseded_runs_are_not_read(written: Ledger) -> None:
    (found,) = written.cells().values()
    written.client.set_tag(found.run_id, schema.TAG_SUPERSEDED_BY, "other")
    assert Ledger().cells() == {}


def test_an_orphan_is_marked_and_continued_in_the_same_run(uri: str) -> None:
    tracker = MlflowTracker(uri)
    tracker.start(record())
    tracker.report("a" * 20, REPORTS[0])
    assert tracker.close(60)
    ledger = Ledger()
    ledger.mark_unfinished(["a" * 20])
    (found,) = ledger.cells().values()
    assert found.state is State.UNFINISHED
    assert ledger.client.get_run(found.run_id).info.status == "KILLED"
    tracker = MlflowTracker(uri)
    write_cell(tracker, record())
    assert tracker.close(60)
    (again,) = Ledger().cells().values()
    assert (again.state, again.run_id) == (State.FINISHED, found.run_id)
    assert len(Ledger().history("a" * 20)) == 3


class Away:
    """A ledger that is away until told otherwise."""

    def __init__(self, runs: MlflowRuns) -> None:
        self.runs, self.back, self.tries = runs, threading.Event(), 0

    def __getattr__(self, name: str):
        def call(*arguments):
            self.tries += 1
            if not self.back.is_set():
                raise ConnectionError("away")
            return getattr(self.runs, name)(*arguments)

        return call


def wait_until(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_while_the_ledger_is_away_messages_wait_and_none_is_lost(uri: str, monkeypatch) -> None:
    monkeypatch.setattr(mlflow_tracker, "FIRST_WAIT_SECONDS", 0.01)
    away = Away(MlflowRuns(uri))
    tracker = MlflowTracker(uri, runs=away)
    began = time.monotonic()
    write_cell(tracker, record())
    assert time.monotonic() - began < 1.0  # no call of the driver waits for the ledger
    wait_until(lambda: not tracker.available() and away.tries > 2)
    assert tracker.pending() == 5
    assert not tracker.close(0.05)
    assert tracker.errors == []
    tracker = MlflowTracker(uri, runs=away)
    write_cell(tracker, record())
    wait_until(lambda: not tracker.available())
    away.back.set()
    assert tracker.close(60)
    assert tracker.available()
    (found,) = Ledger().cells().values()
    assert found.state is State.FINISHED
    assert len(Ledger().history("a" * 20)) == 3


def test_what_the_ledger_refuses_for_good_is_told_and_the_rest_goes_on(uri: str) -> None:
    tracker = MlflowTracker(uri)
    tracker.report("never started", REPORTS[0])
    write_cell(tracker, record())
    assert tracker.close(60)
    assert [error.what for error in tracker.errors] == ["report never started"]
    assert len(Ledger().cells()) == 1


def test_errors_that_may_pass_and_errors_that_do_not() -> None:
    assert not is_permanent(ConnectionError())
    assert not is_permanent(MlflowException("busy"))
    assert is_permanent(MlflowException.invalid_parameter_value("no"))
    assert is_permanent(KeyError("x"))


def test_a_ledger_that_cannot_be_reached_is_named(tmp_path) -> None:
    (tmp_path / "text.db").write_text("no database" * 100)
    for uri in ("http://127.0.0.1:9", f"sqlite:///{tmp_path}", f"sqlite:///{tmp_path}/text.db"):
        with pytest.raises(LedgerUnavailable, match="cannot be reached"):
            Ledger(uri).reachable()


def test_an_sqlite_file_that_cannot_be_written_may_still_be_read(uri: str, monkeypatch) -> None:
    Ledger().reachable(write=True)
    connect = sqlite3.connect

    def read_only(path: Path, timeout: float) -> sqlite3.Connection:
        return connect(f"file:{path}?mode=ro", timeout=timeout, uri=True)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    Ledger().reachable()
    with pytest.raises(LedgerUnavailable, match="readonly"):
        Ledger().reachable(write=True)


def test_a_ledger_that_somebody_writes_to_is_there(uri: str, monkeypatch) -> None:
    monkeypatch.setattr(probing, "_PROBE_SECONDS", 0.1)
    Ledger().reachable(write=True)
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as other:
        other.execute("begin immediate")
        Ledger().reachable(write=True)


def test_long_values_keep_within_the_ledgers_limits(uri: str) -> None:
    tracker = MlflowTracker(uri)
    tracker.start(record())
    tracker.finish(replace(record(), state=State.FAILED, reason="x" * 20_000))
    assert tracker.close(60)
    assert tracker.errors == []
    (found,) = Ledger().cells().values()
    assert found.state is State.FAILED
    assert 5_000 < len(found.reason) < 8_000


@pytest.mark.parametrize(
    ("name", "reads_test"),
    [("linear/test_top1", True), ("linear/val_top1", False), ("probe/latest", False)],
)
def test_which_metrics_read_the_test_split(name: str, reads_test: bool) -> None:
    assert schema.is_test_metric(name) is reads_test
