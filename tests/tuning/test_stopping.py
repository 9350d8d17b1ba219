"""Cells that are stopped, lost or stuck, without a cluster: who is told what, and when."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError
from ray.train import WorkerGroupError
from support import FakeSource, planned_cell

from simclr_lab.cell import EpochReport, Outcome, State
from simclr_lab.training.capacity import Capacity
from simclr_lab.training.events import (
    CellEnded,
    CellEpoch,
    CellFailed,
    CellStarted,
    CellStopped,
    FailureKind,
)
from simclr_lab.training.trainer import stop_file
from simclr_lab.tuning import watchdog as module
from simclr_lab.tuning.failures import KernelKills, kind_of
from simclr_lab.tuning.listening import ListeningCallback
from simclr_lab.tuning.searcher import CellSearcher, CellStopper, Unplaceable
from simclr_lab.tuning.trial import END, EVENT
from simclr_lab.tuning.watchdog import Stuck, Watchdog

CELL = planned_cell(0)
STARTED = CellStarted(CELL.key, 0, 1, 1, ())
ENDED = CellEnded(CELL.key, Outcome.OK, {}, {})


def epoch(number: int) -> CellEpoch:
    return CellEpoch(CELL.key, EpochReport(number, number, number, {}))


class Told(list):
    def heard(self, task: object, event: object) -> None:
        self.append(event)


def searching(source: FakeSource, storage: Path | str = "/storage", **options) -> CellSearcher:
    searcher = CellSearcher(source, str(storage), Capacity(2), **options)
    assert searcher.suggest("a")["task"].key == CELL.key
    return searcher


def steps(searcher: CellSearcher, events: list) -> tuple[list, bool]:
    """What Tune does with a trial's results: (what listeners hear, whether it was stopped)."""
    told = Told()
    stopper, callback = CellStopper(searcher), ListeningCallback([told], searcher)
    trial = SimpleNamespace(trial_id="a", config={"task": SimpleNamespace(key=CELL.key)})
    for event in events:
        result = {EVENT: event}
        stopped = stopper("a", result)
        callback.on_trial_result(0, [trial], trial, result)
        if stopped or isinstance(event, CellEnded):
            searcher.on_trial_complete("a", result)
            return list(told), stopped
    return list(told), False


def test_a_source_may_stop_a_cell_after_any_event() -> None:
    source = FakeSource([CELL], stops=lambda event: event == epoch(2))
    told, stopped = steps(searching(source), [STARTED, epoch(1), epoch(2), epoch(3), ENDED])
    pruned = CellStopped(CELL.key, State.PRUNED)
    assert stopped
    assert told == [STARTED, epoch(1), epoch(2), pruned]
    assert source.ends == [(CELL, pruned)]
    assert source.reports == [STARTED, epoch(1), epoch(2)]


def test_an_end_is_never_stopped() -> None:
    source = FakeSource([CELL], stops=lambda event: True)
    told, stopped = steps(searching(source), [ENDED])
    assert (told, stopped) == ([ENDED], False)
    assert source.ends == [(CELL, ENDED)]


def test_once_halted_cells_leave_unfinished_and_none_starts() -> None:
    over: list[bool] = []
    source = FakeSource([CELL])
    searcher = searching(source, halted=lambda: bool(over))
    assert not CellStopper(searcher)("a", {EVENT: STARTED})
    over.append(True)
    assert searcher.suggest("b") is None  # one still runs
    told, _ = steps(searcher, [epoch(1)])
    assert told[-1] == CellStopped(CELL.key, State.UNFINISHED)
    assert searcher.suggest("b") == searcher.FINISHED


def test_a_group_is_told_by_a_file_and_a_single_worker_by_silence(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    for workers in (1, 2):
        cell = planned_cell(0, workers)
        source = FakeSource([cell], stops=lambda event: True)
        searcher = searching(source, tmp_path)
        result = {EVENT: epoch(1)}
        assert CellStopper(searcher)("a", result)
        assert result[END] == CellStopped(cell.key, State.PRUNED)
        assert stop_file(tmp_path, cell.key).exists() is (workers == 2)


def test_a_cell_of_more_workers_than_slots_is_refused_by_name() -> None:
    wide = planned_cell(0, workers=3)
    with pytest.raises(Unplaceable, match=f"cell {wide.key} asks for 3 workers.*2 slots"):
        CellSearcher(FakeSource([wide]), "/storage", Capacity(2)).suggest("a")


def test_tune_may_pickle_what_it_holds() -> None:
    searcher = searching(FakeSource([CELL]))
    for each in (searcher, CellStopper(searcher), Watchdog(searcher, 1.0)):
        pickle.dumps(each)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("bad"), FailureKind.ERROR),
        (MemoryError(), FailureKind.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory"), FailureKind.OUT_OF_MEMORY),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            FailureKind.OUT_OF_MEMORY,
        ),
        (OutOfMemoryError("the node ran low"), FailureKind.OUT_OF_MEMORY),
        (RayActorError("id", "The actor died"), FailureKind.LOST_PROCESS),
        (ActorDiedError(), FailureKind.LOST_PROCESS),
        (RayActorError("id", "The actor died because its node has died."), FailureKind.LOST_NODE),
        (WorkerGroupError("x", {0: ValueError("bad")}), FailureKind.ERROR),
        (WorkerGroupError("x", {1: ActorDiedError()}), FailureKind.LOST_PROCESS),
        (
            WorkerGroupError("x", {0: torch.OutOfMemoryError("CUDA out of memory")}),
            FailureKind.OUT_OF_MEMORY,
        ),
    ],
)
def test_kinds_of_failures(error: BaseException, kind: FailureKind) -> None:
    assert kind_of(error) is kind


def test_the_kernels_kills_are_counted_from_one_look_to_the_next(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("pgfault 4\noom_kill 7\n")
    kills = KernelKills(counters)
    assert not kills.more()
    counters.write_text("pgfault 4\noom_kill 8\n")
    assert kills.more()
    assert not kills.more()
    assert not KernelKills(tmp_path / "none").more()


@pytest.mark.parametrize("killed", [False, True])
def test_a_lost_process_is_out_of_memory_where_the_kernel_killed_one(killed: bool) -> None:
    source, told = FakeSource([CELL]), Told()
    searcher = searching(source)
    callback = ListeningCallback([told], searcher)
    callback.kills = SimpleNamespace(more=lambda: killed)
    trial = SimpleNamespace(
        trial_id="a",
        config={"task": SimpleNamespace(key=CELL.key)},
        error_file=None,
        get_pickled_error=ActorDiedError,
    )
    searcher.on_trial_complete("a", error=True)
    callback.on_trial_error(0, [trial], trial)
    kind = FailureKind.OUT_OF_MEMORY if killed else FailureKind.LOST_PROCESS
    assert told == [CellFailed(CELL.key, "its process was lost", kind)]
    assert source.ends == [(CELL, told[0])]
    assert searcher.running == {}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds; no cluster is asked."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "reap", lambda: 0)
    monkeypatch.setattr(module.ray, "available_resources", lambda: {"cell_slot": 1.0})
    return now


def test_a_stand_still_is_named_and_only_a_stand_still(clock: list[float]) -> None:
    searcher = searching(FakeSource([CELL]))
    dog = Watchdog(searcher, 600.0)
    trial = SimpleNamespace(trial_id="a")

    def after(seconds: float) -> None:
        clock[0] += seconds
        dog.on_step_end(0, [])

    after(599)
    dog.on_trial_result(0, [], trial, {})  # it runs, for hours without a word
    after(7200)
    dog.on_trial_recover(0, [], trial)  # its process was lost; it waits again
    after(590)
    with pytest.raises(Stuck, match=rf"10\.\d minutes.*{CELL.key} \(1 worker\).*2 slots 1 are"):
        after(20)


def test_a_study_that_waits_for_others_is_not_stuck(clock: list[float]) -> None:
    searcher = searching(FakeSource([CELL]))
    dog = Watchdog(searcher, 600.0)
    searcher.running.clear()
    clock[0] += 7200
    dog.on_step_end(0, [])


def test_its_patience_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.patience() == 600
    monkeypatch.setenv("SIMCLR_LAB_STUCK_MINUTES", "0.5")
    assert module.patience() == 30
