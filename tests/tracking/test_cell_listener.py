"""From a cell's events to its record, whatever the order in which a crash cut them off."""

from simclr_lab.cell import EpochReport, Outcome, State
from simclr_lab.recipes import named_recipe
from simclr_lab.tracking.cell_listener import TrackerListener
from simclr_lab.tracking.tracker import MemoryTracker
from simclr_lab.training.events import (
    CellEnded,
    CellEpoch,
    CellFailed,
    CellStarted,
    CellStopped,
    FailureKind,
)
from simclr_lab.training.run_cell import CellTask

REPORTS = [EpochReport(e, 10 * e, 1000 + e, {"train/loss": 1.0 / e}) for e in (1, 2, 3)]


def task(key: str = "key") -> CellTask:
    return CellTask(key, named_recipe("demo"), 4, "/storage")


def listener() -> tuple[MemoryTracker, TrackerListener]:
    tracker = MemoryTracker()
    return tracker, TrackerListener(tracker, "demo", "digest", tags={"hardware": "x"})


def test_a_cell_that_ends_well() -> None:
    tracker, told = listener()
    told.heard(task(), CellStarted("key", 0, 2, 1, ()))
    for report in REPORTS:
        told.heard(task(), CellEpoch("key", report))
    told.heard(task(), CellEnded("key", Outcome.COLLAPSED, {"linear": "e"}, {"train/loss": 0.3}))
    (started,), (finished,) = tracker.started, tracker.finished
    assert (started.state, started.world_size, started.seed) == (State.RUNNING, 2, 4)
    assert started.recipe == named_recipe("demo").flat()
    assert (finished.state, finished.outcome) == (State.FINISHED, Outcome.COLLAPSED)
    assert finished.evaluations == {"linear": "e"}
    assert tracker.reports == {"key": REPORTS}
    assert told.interrupted() == []


def test_a_continued_cell_tells_its_history_first_and_nothing_twice() -> None:
    tracker, told = listener()
    told.heard(task(), CellStarted("key", 0, 1, 1, ()))
    told.heard(task(), CellEpoch("key", REPORTS[0]))
    told.heard(task(), CellStarted("key", 0, 1, 1, tuple(REPORTS[:2])))  # a new process
    told.heard(task(), CellEpoch("key", REPORTS[2]))
    assert tracker.reports == {"key": REPORTS}


def test_a_cell_that_never_started_has_a_record_of_its_failure() -> None:
    tracker, told = listener()
    told.heard(task(), CellFailed("key", "out of memory", FailureKind.OUT_OF_MEMORY))
    assert [record.state for record in tracker.started] == [State.RUNNING]
    (failed,) = tracker.finished
    assert (failed.state, failed.reason) == (State.FAILED, "out of memory")
    assert failed.tags == {"hardware": "x"}
    assert failed.reason_kind == "out_of_memory"


def test_an_evaluation_that_fails_leaves_a_finished_cell_finished() -> None:
    tracker, told = listener()
    told.heard(task(), CellStarted("key", 0, 1, 1, tuple(REPORTS), finished=True))
    told.heard(task(), CellFailed("key", "no room for t-SNE", FailureKind.OUT_OF_MEMORY))
    (record,) = tracker.finished
    assert (record.state, record.reason) == (State.FINISHED, "no room for t-SNE")
    assert record.reason_kind == "out_of_memory"


def test_an_interrupt_leaves_running_cells_unfinished() -> None:
    tracker, told = listener()
    for key in ("a", "b"):
        told.heard(task(key), CellStarted(key, 0, 1, 1, ()))
    told.heard(task("a"), CellEnded("a", Outcome.OK, {}, {}))
    assert told.interrupted() == ["b"]
    assert tracker.finished[-1].state is State.UNFINISHED


def test_a_pruned_cell_is_pruned_and_one_that_a_budget_stopped_unfinished() -> None:
    tracker, told = listener()
    for key, state in (("a", State.PRUNED), ("b", State.UNFINISHED)):
        told.heard(task(key), CellStarted(key, 0, 1, 1, ()))
        told.heard(task(key), CellEpoch(key, REPORTS[0]))
        told.heard(task(key), CellStopped(key, state))
    assert [record.state for record in tracker.finished] == [State.PRUNED, State.UNFINISHED]
    assert told.interrupted() == []
    told.heard(task("a"), CellStarted("a", 0, 1, 1, (REPORTS[0],)))  # an ablation continues it
    told.heard(task("a"), CellEnded("a", Outcome.OK, {}, {}))
    assert tracker.finished[-1].state is State.FINISHED
