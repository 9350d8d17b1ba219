"""Attempts of one cell: whatever is killed when, one record counts and nothing is lost."""

from dataclasses import replace

import pytest
from tracking_records import FINISHED, KEY, record

from simclr_lab.cell import CellRecord, EpochReport, State
from simclr_lab.tracking import schema
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.mlflow_runs import MlflowRuns


@pytest.fixture
def runs(own_home) -> MlflowRuns:
    """A ledger with one finished cell."""
    runs = MlflowRuns(Ledger().tracking_uri)
    write(runs, record(), 40.0)
    return runs


def write(runs: MlflowRuns, cell: CellRecord, accuracy: float) -> str:
    runs.start(cell)
    runs.report(cell.key, [EpochReport(1, 10, 1_700_000_000_001, {"linear/test_top1": accuracy})])
    runs.finish(replace(cell, **FINISHED))
    return runs.run_of(cell)


def live() -> CellRecord:
    (found,) = Ledger().cells().values()
    return found


def test_until_the_new_attempt_is_finished_the_old_one_counts(runs: MlflowRuns) -> None:
    second = record(attempt=1)
    runs.start(second)
    found = live()
    assert (found.attempt, found.state, found.last_attempt) == (0, State.FINISHED, 1)
    assert found.reopened is not None
    assert (found.reopened.attempt, found.reopened.state) == (1, State.RUNNING)
    for state in (State.UNFINISHED, State.FAILED):
        runs.finish(replace(second, state=state))
        assert (live().attempt, live().reopened.state) == (0, state)
    write(runs, second, 41.0)
    found = live()
    assert (found.attempt, found.reopened, found.metrics["linear/test_top1"]) == (1, None, 41.0)


def test_a_finished_attempt_supersedes_the_earlier_ones_by_name(runs: MlflowRuns) -> None:
    first = runs.run_of(record())
    second = write(runs, record(attempt=1), 41.0)
    tags = runs.client.get_run(first).data.tags
    assert tags[schema.TAG_SUPERSEDED_BY] == second
    assert schema.TAG_SUPERSEDED_BY not in runs.client.get_run(second).data.tags


def test_a_kill_before_the_old_attempt_is_tagged_leaves_the_new_one(
    runs: MlflowRuns, monkeypatch
) -> None:
    monkeypatch.setattr(MlflowRuns, "_supersede_before", lambda *arguments: None)
    write(runs, record(attempt=1), 41.0)
    assert (live().attempt, live().reopened) == (1, None)


def test_of_attempts_without_an_end_the_newest_counts(own_home) -> None:
    runs = MlflowRuns(Ledger().tracking_uri)
    runs.start(record())
    runs.finish(replace(record(), state=State.FAILED, reason="no", reason_kind="lost_node"))
    assert live().reason_kind == "lost_node"
    runs.start(record(attempt=1))
    assert (live().attempt, live().state, live().reopened) == (1, State.RUNNING, None)


def test_an_orphan_among_the_attempts_is_marked(runs: MlflowRuns) -> None:
    runs.start(record(attempt=1))
    Ledger().mark_unfinished([KEY])
    assert live().state is State.FINISHED
    assert live().reopened.state is State.UNFINISHED


def test_a_replay_is_no_record_and_takes_its_attempt(runs: MlflowRuns) -> None:
    replayed = record(attempt=1, replay_of=live().run_id)
    write(runs, replayed, 39.0)
    found = live()
    assert (found.attempt, found.last_attempt, found.reopened) == (0, 1, None)
    assert found.metrics["linear/test_top1"] == 40.0
    (replay,) = Ledger().replays(KEY)
    assert (replay.attempt, replay.replay_of) == (1, found.run_id)
    write(runs, record(attempt=2), 41.0)  # a forced attempt leaves the replay's tag alone
    assert live().attempt == 2
    assert schema.TAG_SUPERSEDED_BY not in runs.client.get_run(replay.run_id).data.tags


def test_a_failure_keeps_the_end_of_its_log(own_home) -> None:
    runs = MlflowRuns(Ledger().tracking_uri)
    runs.start(record())
    failed = replace(record(), state=State.FAILED, reason="OSError: no", failure="line 1\nline 2")
    runs.finish(failed)
    assert Ledger().text(live().run_id, schema.ARTIFACT_FAILURE) == "line 1\nline 2"
    assert Ledger().text(live().run_id, "other.txt") == ""


def test_the_diff_is_kept_with_the_run_and_only_if_it_is_given(own_home) -> None:
    for key, diff in (("a" * 20, "+x = 1\n"), ("b" * 20, "")):
        run_id = MlflowRuns(Ledger().tracking_uri, diff).start(record(key=key))
        assert Ledger().text(run_id, schema.ARTIFACT_DIFF) == diff
