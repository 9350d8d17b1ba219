"""Budgets of one launch: when one is spent, no cell starts and those that run leave in order."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from simclr_lab.training.events import CellEvent, CellStarted, EndEvent
from simclr_lab.training.run_cell import CellTask
from simclr_lab.tuning.plan import PlannedCell
from simclr_lab.tuning.source import CellSource, Exhausted, Wait

_HOUR = 3600.0


@dataclass(frozen=True)
class Limits:
    """What a launch may spend; None is no limit.

    ``worker_hours`` are hours of cells times their workers: GPU-hours where workers hold GPUs.
    """

    cells: int | None = None
    hours: float | None = None
    worker_hours: float | None = None


@dataclass
class Budget:
    """Counts what a launch spends; a listener of cell events.

    Args:
        limits: what may be spent.
        unit: what hours of workers are called.
        clock: seconds, from any beginning.
    """

    limits: Limits
    unit: str = "worker-hours"
    clock: Callable[[], float] = time.monotonic
    cells: int = field(init=False, default=0)  # handed out
    _began: float = field(init=False)
    _ended_seconds: float = field(init=False, default=0.0)
    _running: dict[str, tuple[float, int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def heard(self, task: CellTask, event: CellEvent) -> None:
        """Note when cells begin and end; one that starts again has spent its time all the same."""
        if isinstance(event, CellStarted):
            self._running.setdefault(task.key, (self.clock(), event.world_size))
        elif isinstance(event, EndEvent):
            self._ended_seconds += self._seconds(task.key)
            self._running.pop(task.key, None)

    @property
    def worker_hours(self) -> float:
        """Hours of workers so far, of cells that ended and that run."""
        seconds = self._ended_seconds + sum(self._seconds(key) for key in self._running)
        return seconds / _HOUR

    @property
    def hours(self) -> float:
        """Hours since the launch."""
        return (self.clock() - self._began) / _HOUR

    def out_of_time(self) -> bool:
        """Whether running cells have to leave."""
        limits = self.limits
        return (limits.hours is not None and self.hours >= limits.hours) or (
            limits.worker_hours is not None and self.worker_hours >= limits.worker_hours
        )

    def spent(self) -> str | None:
        """The budget that is spent, in words; None while there is some of each."""
        limits = self.limits
        if limits.cells is not None and self.cells >= limits.cells:
            return f"--max-cells {limits.cells} is reached"
        if limits.hours is not None and self.hours >= limits.hours:
            return f"--max-hours {limits.hours:g} are over"
        if limits.worker_hours is not None and self.worker_hours >= limits.worker_hours:
            spent = f"{self.worker_hours:.2f} {self.unit}"
            return f"--max-worker-hours {limits.worker_hours:g} are spent ({spent})"
        return None

    def _seconds(self, key: str) -> float:
        began, workers = self._running.get(key, (self.clock(), 0))
        return (self.clock() - began) * workers


@dataclass
class WithinBudget:
    """A source of cells that hands out no more than the budget's number of them.

    They are run to their end: to stop a cell because another one has ended would waste it.
    """

    source: CellSource
    budget: Budget

    def next_cell(self) -> PlannedCell | Wait | Exhausted:
        """The next cell while the budget has any."""
        limit = self.budget.limits.cells
        if limit is not None and self.budget.cells >= limit:
            return Exhausted()
        cell = self.source.next_cell()
        self.budget.cells += isinstance(cell, PlannedCell)
        return cell

    def reported(self, cell: PlannedCell, event: CellEvent) -> bool:
        """As the source says."""
        return self.source.reported(cell, event)

    def ended(self, cell: PlannedCell, end: EndEvent) -> None:
        """Tell the source."""
        self.source.ended(cell, end)

    def remaining(self) -> int:
        """Cells of the source that may still be handed out, whatever the budget."""
        return self.source.remaining()

    def widest(self) -> int:
        """Workers of the largest cell that may be handed out."""
        return self.source.widest()
