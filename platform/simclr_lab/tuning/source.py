"""Where the next cell comes from: a list of planned cells, taken one by one under their leases."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from simclr_lab.cell import CellRecord, StudyCell
from simclr_lab.training.events import CellEvent, EndEvent
from simclr_lab.tuning.plan import Action, PlannedCell, decide


class Wait:
    """There will be another cell, but not now."""


class Exhausted:
    """There is no further cell."""


class Lease(Protocol):
    """Permission to run one key; it vanishes with this process."""

    def acquire(self) -> bool:
        """Take it if nobody holds it."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class CellSource(Protocol):
    """Hands out cells and learns how they ended."""

    def next_cell(self) -> PlannedCell | Wait | Exhausted:
        """The next cell to launch, its lease held."""
        ...

    def reported(self, cell: PlannedCell, event: CellEvent) -> bool:
        """A cell that was handed out told something; whether it should stop here, pruned."""
        ...

    def ended(self, cell: PlannedCell, end: EndEvent) -> None:
        """A cell that was handed out has ended, one way or the other."""
        ...

    def remaining(self) -> int:
        """Cells that may still be handed out."""
        ...

    def widest(self) -> int:
        """Workers of the largest cell that may be handed out."""
        ...


@dataclass
class Surroundings:
    """What a source asks of the outside world, given by the command line.

    ``lease(key)`` makes a lease, ``known(keys)`` reads the ledger, ``may_start()`` is false while
    the ledger is away, ``reused(cell, record)`` tells of a cell that another study finished.
    """

    lease: Callable[[str], Lease]
    known: Callable[[Sequence[str]], Mapping[str, CellRecord]]
    may_start: Callable[[], bool] = lambda: True
    reused: Callable[[PlannedCell, CellRecord], None] = lambda cell, record: None
    proposed: Callable[[StudyCell], None] = lambda place: None


@dataclass
class AblationSource:
    """The planned cells of an ablation, in order; cells leased elsewhere come last."""

    cells: Sequence[PlannedCell]
    outside: Surroundings
    _waiting: list[PlannedCell] = field(init=False)
    _leases: dict[str, Lease] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._waiting = [cell for cell in self.cells if cell.launches]

    def remaining(self) -> int:
        """Cells that may still be handed out."""
        return len(self._waiting)

    def next_cell(self) -> PlannedCell | Wait | Exhausted:
        """The first waiting cell whose lease is free and that nobody finished meanwhile."""
        if not self._waiting:
            return Exhausted()
        if not self.outside.may_start():
            return Wait()
        for cell in list(self._waiting):
            lease = self.outside.lease(cell.key)
            if not lease.acquire():
                continue
            self._waiting.remove(cell)
            if self._finished_elsewhere(cell):
                lease.release()
                continue
            self._leases[cell.key] = lease
            return cell
        return Wait() if self._waiting else Exhausted()

    def widest(self) -> int:
        """Workers of the largest cell that may be handed out."""
        return max((cell.workers for cell in self._waiting), default=0)

    def reported(self, cell: PlannedCell, event: CellEvent) -> bool:
        """Arms are trained to the end, all of them."""
        return False

    def ended(self, cell: PlannedCell, end: EndEvent) -> None:
        """Give the lease back."""
        self._leases.pop(cell.key).release()

    def _finished_elsewhere(self, cell: PlannedCell) -> bool:
        """Whether another study has finished the cell since the plan was made."""
        record = self.outside.known([cell.key]).get(cell.key)
        if record is None or record.attempt < cell.attempt:
            return False
        if decide(record, cell.recipe) is not Action.REUSE:
            return False
        self.outside.reused(cell, record)
        return True
