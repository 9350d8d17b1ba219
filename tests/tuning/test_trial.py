"""Tune's side of a cell without a cluster: tickets, the end of a worn process, the searcher."""

import pytest
from ray.exceptions import ActorDiedError
from ray.tune.search import Searcher
from support import FakeSource, planned_cell

from simclr_lab.cell import Outcome
from simclr_lab.training.cluster import SLOT
from simclr_lab.training.events import CellEnded, CellFailed, CellStarted, FailureKind
from simclr_lab.tuning import trial as module
from simclr_lab.tuning.searcher import CellSearcher
from simclr_lab.tuning.source import Exhausted, Wait
from simclr_lab.tuning.trial import EVENT, CellTrial, WornProcess, trial_config, trial_resources


def ended(key: str) -> CellEnded:
    return CellEnded(key, Outcome.OK, {}, {})


def test_tickets_are_one_bundle_a_worker() -> None:
    assert trial_resources({"workers": 1}).bundles == [{SLOT: 1.0, "CPU": 1.0}]
    assert trial_resources({"workers": 3}).bundles == [{SLOT: 1.0}] * 3


def test_the_searcher_hands_out_no_more_than_the_slots() -> None:
    cells = [planned_cell(seed) for seed in range(3)]
    source = FakeSource([*cells, Exhausted()])
    searcher = CellSearcher(source, "/storage", slots=2)
    assert searcher.suggest("a")["task"].key == cells[0].key
    assert searcher.suggest("b")["task"].key == cells[1].key
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", {EVENT: ended(cells[0].key)})
    assert searcher.suggest("c")["task"].key == cells[2].key
    searcher.on_trial_complete("b", {EVENT: ended(cells[1].key)})
    assert searcher.suggest("d") is None  # one still runs
    searcher.on_trial_complete("c", error=True)
    searcher.failed("c", CellFailed(cells[2].key, "gone"))
    assert searcher.suggest("d") == Searcher.FINISHED
    assert [type(end) for _, end in source.ends] == [CellEnded, CellEnded, CellFailed]


def test_a_searcher_told_to_wait_asks_again_later(monkeypatch) -> None:
    cell = planned_cell(0)
    searcher = CellSearcher(FakeSource([Wait(), cell]), "/storage", slots=2)
    now = [100.0]
    monkeypatch.setattr("simclr_lab.tuning.searcher.time.monotonic", lambda: now[0])
    assert searcher.suggest("a") is None
    assert searcher.suggest("a") is None
    now[0] += 1
    assert searcher.suggest("a")["task"].key == cell.key


def trial_of(monkeypatch, events) -> CellTrial:
    monkeypatch.setattr(module, "run_alone", lambda task, shared, threads: events(task.key))
    trial = CellTrial.__new__(CellTrial)
    trial.setup(trial_config(planned_cell(0), "/storage"))
    return trial


def good(key: str):
    yield CellStarted(key, 0, 1, 1, ())
    yield ended(key)


def bad(key: str):
    yield CellStarted(key, 0, 1, 1, ())
    raise OSError("disk full")


def run_cell(trial: CellTrial) -> list:
    results = [trial.step()]
    while not results[-1]["done"]:
        results.append(trial.step())
    return [result[EVENT] for result in results]


def next_cell(trial: CellTrial, seed: int) -> None:
    assert trial.reset_config(trial_config(planned_cell(seed), "/storage"))


def test_a_process_runs_cell_after_cell_up_to_its_bound(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_CELLS", 3)
    trial = trial_of(monkeypatch, good)
    assert [type(e) for e in run_cell(trial)] == [CellStarted, CellEnded]
    for seed in (1, 2):
        next_cell(trial, seed)
        assert run_cell(trial)[-1].key == planned_cell(seed).key
    next_cell(trial, 3)
    with pytest.raises(WornProcess, match="4 cells"):
        trial.step()


def test_a_process_that_grew_begins_no_other_cell(monkeypatch) -> None:
    sizes = iter([100, 100 + module.MAX_GROWTH_BYTES, 101 + module.MAX_GROWTH_BYTES])
    monkeypatch.setattr(module, "_private_bytes", lambda: next(sizes))
    trial = trial_of(monkeypatch, good)
    run_cell(trial)
    next_cell(trial, 1)
    run_cell(trial)
    next_cell(trial, 2)
    with pytest.raises(WornProcess):
        trial.step()


def test_a_failure_is_an_end_with_a_reason_and_the_last_of_its_process(monkeypatch) -> None:
    trial = trial_of(monkeypatch, bad)
    events = run_cell(trial)
    end = events[-1]
    assert isinstance(end, CellFailed)
    assert (end.key, end.reason) == (planned_cell(0).key, "OSError: disk full")
    assert end.kind is FailureKind.ERROR
    assert end.log.startswith("Traceback")
    assert end.log.endswith("OSError: disk full")
    next_cell(trial, 1)
    with pytest.raises(WornProcess):
        trial.step()


def test_workers_that_end_without_a_result_have_failed(monkeypatch) -> None:
    trial = trial_of(monkeypatch, lambda key: (CellStarted(key, 0, 1, 1, ()) for _ in range(1)))
    assert run_cell(trial)[-1].reason == "the workers ended without a result"


def test_a_cell_stopped_between_two_events_is_left_before_the_next_begins(monkeypatch) -> None:
    left: list[str] = []

    def events(key: str):
        try:
            yield CellStarted(key, 0, 1, 1, ())
            yield ended(key)
        finally:
            left.append(key)

    trial = trial_of(monkeypatch, events)
    trial.step()
    next_cell(trial, 1)
    assert left == [planned_cell(0).key]
    trial.step()
    trial.cleanup()
    assert left == [planned_cell(seed).key for seed in (0, 1)]


def test_workers_that_cannot_be_ended_end_with_the_process(monkeypatch) -> None:
    def stuck(key: str):
        try:
            yield CellStarted(key, 0, 1, 1, ())
        finally:
            raise RuntimeError("they live on")

    trial = trial_of(monkeypatch, stuck)
    trial.step()
    next_cell(trial, 1)
    with pytest.raises(WornProcess):
        trial.step()


def test_a_lost_worker_is_tunes_to_restart(monkeypatch) -> None:
    def lost(key: str):
        yield CellStarted(key, 0, 2, 1, ())
        raise ActorDiedError

    trial = trial_of(monkeypatch, lost)
    trial.step()
    with pytest.raises(ActorDiedError):
        trial.step()
