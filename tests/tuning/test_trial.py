"""Tune's side of a cell without a cluster: tickets, the end of a worn process, the searcher."""

from dataclasses import replace
from fractions import Fraction

import pytest
from ray.exceptions import ActorDiedError
from ray.tune.search import Searcher
from support import FakeSource, planned_cell

from simclr_lab.cell import Outcome
from simclr_lab.training.capacity import SLOT, Capacity, ClusterUnfit, Seat
from simclr_lab.training.events import CellEnded, CellFailed, CellStarted, FailureKind
from simclr_lab.tuning import trial as module
from simclr_lab.tuning.plan import PlannedCell
from simclr_lab.tuning.searcher import CellSearcher, Unplaceable
from simclr_lab.tuning.source import Exhausted, Wait
from simclr_lab.tuning.trial import EVENT, CellTrial, WornProcess, trial_config, trial_resources


def ended(key: str) -> CellEnded:
    return CellEnded(key, Outcome.OK, {}, {})


def bundles(workers: int, seat: Seat) -> list[dict[str, float]]:
    return trial_resources({"workers": workers, "seat": seat}).bundles


def test_tickets_are_one_bundle_a_worker() -> None:
    assert bundles(1, Seat()) == [{SLOT: 1.0, "CPU": 1.0}]
    assert bundles(3, Seat()) == [{SLOT: 1.0}] * 3


def test_a_cell_of_one_worker_asks_ticket_and_part_of_a_gpu_in_one_bundle() -> None:
    quarter = Capacity(1, 8, Fraction(8)).seat(1, None, Fraction(1, 4))
    assert bundles(1, quarter) == [{SLOT: 0.25, "GPU": 0.25, "CPU": 2.0}]
    whole = Capacity(2, 8, Fraction(4)).seat(2, None, Fraction(1, 4))
    assert bundles(2, whole) == [{SLOT: 1.0}] * 2
    assert whole.devices == {"GPU": 1.0, "CPU": 4.0}  # what Ray Train asks for each worker


def shared_searcher(count: int, *cells: PlannedCell) -> CellSearcher:
    return CellSearcher(
        FakeSource([*cells, Exhausted()]), "/storage", Capacity(count, 2, Fraction(2, count))
    )


@pytest.mark.parametrize("cells", [2, 3, 4, 7])
def test_no_more_cells_share_a_gpu_than_it_has_parts(cells: int) -> None:
    """A third as Ray counts it is 0.3333, and three of them are not quite one."""
    listed = [replace(planned_cell(n), gpu_share=Fraction(1, cells)) for n in range(cells + 1)]
    searcher = shared_searcher(1, *listed)
    assert all(searcher.suggest(str(number)) for number in range(cells))
    assert searcher.suggest("one more") is None


def test_threads_are_tickets_on_processors() -> None:
    cells = [replace(planned_cell(seed), threads=2) for seed in range(3)]
    searcher = CellSearcher(FakeSource(cells), "/storage", Capacity(4, 4))
    config = searcher.suggest("a")
    assert trial_resources(config).bundles == [{SLOT: 2.0, "CPU": 2.0}]
    assert config["seat"].threads == 2
    assert searcher.suggest("b")
    assert searcher.suggest("c") is None


def test_threads_that_no_node_has_are_refused_by_name() -> None:
    wide = replace(planned_cell(0, workers=2), threads=2)
    with pytest.raises(Unplaceable, match=r"2 workers of 2 processors.*3 slots"):
        CellSearcher(FakeSource([wide]), "/storage", Capacity(3, 3)).suggest("a")
    with pytest.raises(ClusterUnfit, match=r"2 threads.*no node.*more than 1"):
        CellSearcher(FakeSource([wide]), "/storage", Capacity(4, 1)).suggest("a")


def test_a_cell_computes_with_the_threads_of_its_seat(monkeypatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(
        module, "run_alone", lambda task, shared, threads: iter(seen.append(threads) or [])
    )
    trial = CellTrial.__new__(CellTrial)
    trial.setup(trial_config(planned_cell(0), "/storage", Seat(threads=3)))
    assert seen == [3]


def test_the_searcher_hands_out_no_more_than_the_slots() -> None:
    cells = [planned_cell(seed) for seed in range(3)]
    source = FakeSource([*cells, Exhausted()])
    searcher = CellSearcher(source, "/storage", Capacity(2))
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
    searcher = CellSearcher(FakeSource([Wait(), cell]), "/storage", Capacity(2))
    now = [100.0]
    monkeypatch.setattr("simclr_lab.tuning.searcher.time.monotonic", lambda: now[0])
    assert searcher.suggest("a") is None
    assert searcher.suggest("a") is None
    now[0] += 1
    assert searcher.suggest("a")["task"].key == cell.key


def trial_of(monkeypatch, events) -> CellTrial:
    monkeypatch.setattr(module, "run_alone", lambda task, shared, threads: events(task.key))
    trial = CellTrial.__new__(CellTrial)
    trial.setup(trial_config(planned_cell(0), "/storage", Seat()))
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
    assert trial.reset_config(trial_config(planned_cell(seed), "/storage", Seat()))


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
