"""Budgets by a clock that the test moves."""

import pytest
from support import FakeSource, planned_cell
from typer.testing import CliRunner

from simclr_lab.cell import Outcome, State
from simclr_lab.cli.app import app
from simclr_lab.cli.budget import Budget, Limits, WithinBudget
from simclr_lab.recipes import named_recipe
from simclr_lab.training.events import CellEnded, CellEpoch, CellStarted, CellStopped
from simclr_lab.training.run_cell import CellTask
from simclr_lab.tuning.searcher import CellSearcher
from simclr_lab.tuning.source import Exhausted, Wait
from simclr_lab.tuning.trial import END, EVENT

HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def task(seed: int) -> CellTask:
    return CellTask(planned_cell(seed).key, named_recipe("demo"), seed, "/storage")


def start(budget: Budget, seed: int, workers: int = 1) -> None:
    budget.heard(task(seed), CellStarted(task(seed).key, 0, workers, 1, ()))


def test_without_limits_nothing_is_ever_spent() -> None:
    clock = Clock()
    budget = Budget(Limits(), clock=clock)
    start(budget, 0, workers=1000)
    clock.now += 1e9
    assert budget.spent() is None
    assert not budget.out_of_time()


def test_worker_hours_are_those_of_ended_and_of_running_cells_by_their_workers() -> None:
    clock = Clock()
    budget = Budget(Limits(worker_hours=4.0), "GPU-hours", clock)
    clock.now += 5 * HOUR  # until Ray was up: no worker had begun
    start(budget, 0, workers=2)
    clock.now += HOUR
    start(budget, 1)
    assert budget.worker_hours == pytest.approx(2.0)
    budget.heard(task(0), CellEnded(task(0).key, Outcome.OK, {}, {}))
    clock.now += 1.5 * HOUR
    assert budget.worker_hours == pytest.approx(3.5)
    assert budget.spent() is None
    clock.now += 0.5 * HOUR
    assert budget.out_of_time()
    assert budget.spent() == "--max-worker-hours 4 are spent (4.00 GPU-hours)"
    budget.heard(task(1), CellStopped(task(1).key, State.UNFINISHED))
    clock.now += 10 * HOUR
    assert budget.worker_hours == pytest.approx(4.0)


def test_a_process_that_was_lost_has_spent_its_time_too() -> None:
    clock = Clock()
    budget = Budget(Limits(worker_hours=9), clock=clock)
    start(budget, 0)
    clock.now += HOUR
    start(budget, 0)
    clock.now += HOUR
    assert budget.worker_hours == pytest.approx(2.0)


def test_hours_are_those_of_the_wall() -> None:
    clock = Clock()
    budget = Budget(Limits(hours=0.5), clock=clock)
    clock.now += 0.49 * HOUR
    assert not budget.out_of_time()
    clock.now += 0.02 * HOUR
    assert budget.out_of_time()
    assert budget.spent() == "--max-hours 0.5 are over"


def test_no_more_cells_are_handed_out_than_the_budget_has_and_those_end() -> None:
    cells = [planned_cell(seed) for seed in range(4)]
    budget = Budget(Limits(cells=2), clock=Clock())
    source = WithinBudget(FakeSource([Wait(), *cells]), budget)
    assert isinstance(source.next_cell(), Wait)
    assert [source.next_cell(), source.next_cell()] == cells[:2]
    assert isinstance(source.next_cell(), Exhausted)
    assert budget.spent() == "--max-cells 2 is reached"
    assert not budget.out_of_time()  # those two go on


def test_out_of_time_a_running_cell_leaves_at_its_next_report_and_none_starts() -> None:
    """Together with Tune's searcher, which asks the budget."""
    clock = Clock()
    budget = Budget(Limits(hours=1.0), clock=clock)
    source = FakeSource([planned_cell(0), planned_cell(1)])
    searcher = CellSearcher(WithinBudget(source, budget), "/storage", 2, budget.out_of_time)
    assert searcher.suggest("a") is not None
    report = CellEpoch(planned_cell(0).key, None)  # type: ignore[arg-type]
    assert searcher.stop_after("a", report) is None
    clock.now += 2 * HOUR
    assert searcher.suggest("b") is None
    end = searcher.stop_after("a", report)
    assert end == CellStopped(planned_cell(0).key, State.UNFINISHED)
    searcher.on_trial_complete("a", {EVENT: report, END: end})
    assert source.ends == [(planned_cell(0), end)]
    assert searcher.suggest("c") == CellSearcher.FINISHED


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--max-hours", "nan"], "--max-hours: is nan; allowed: hours, more than 0"),
        (["--max-hours", "0"], "--max-hours"),
        (["--max-worker-hours", "-1"], "--max-worker-hours"),
        (["--max-worker-hours", "inf"], "--max-worker-hours"),
        (["--max-cells", "0"], "--max-cells"),
        (["--max-cells", "1.5"], "--max-cells"),
    ],
)
def test_budgets_that_are_none_are_refused(own_home, options: list[str], hint: str) -> None:
    result = CliRunner().invoke(app, ["pretrain", "--scale", "demo", "--dry-run", *options])
    assert result.exit_code == 2
    assert hint in result.stderr
    assert list(own_home.iterdir()) == []
