"""Tune's view of a source of cells: it suggests what the source hands out and passes ends back."""

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from ray.tune import Stopper
from ray.tune.search import Searcher

from simclr_lab.cell import State
from simclr_lab.training.capacity import Capacity, Seat
from simclr_lab.training.events import CellEvent, CellFailed, CellStopped, EndEvent, FailureKind
from simclr_lab.training.trainer import stop_file
from simclr_lab.tuning.plan import PlannedCell
from simclr_lab.tuning.source import CellSource, Exhausted, Wait
from simclr_lab.tuning.trial import END, EVENT, trial_config

_PATIENCE_SECONDS = 0.5


class Unplaceable(RuntimeError):  # noqa: N818 - reads as what it says
    """A cell asks for more workers than the cluster has tickets; it would wait for ever."""

    def __init__(
        self, what: str, workers: int, slots: int, slots_each: Fraction = Fraction(1)
    ) -> None:
        each = f" of {slots_each} processors" if slots_each > 1 else ""
        super().__init__(
            f"{what} asks for {workers} workers{each}, and the cluster has {slots} slots; "
            "ask for fewer --workers, or for a larger cluster"
        )


class CellSearcher(Searcher):  # type: ignore[misc]
    """Asks ``source`` for one cell at a time while a slot is free, so that it knows what ended.

    Args:
        source: where cells come from.
        storage: where the cells' files are.
        capacity: of the cluster; nothing is handed out once all of its tickets are.
        halted: once true, no cell starts and those that run leave at their next event.
    """

    def __init__(
        self,
        source: CellSource,
        storage: str,
        capacity: Capacity,
        halted: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self.source, self.storage, self.capacity = source, storage, capacity
        self.halted = halted
        self.running: dict[str, PlannedCell] = {}
        self._not_before = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher for a restore that never happens; leases cannot travel."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next trial, None for 'not now', or FINISHED.

        Raises Unplaceable for a cell of more workers than there are slots, and ClusterUnfit for
        one whose workers no node can hold.
        """
        if time.monotonic() < self._not_before:
            return None
        used = sum(cell.workers * self._seat(cell).slots for cell in self.running.values())
        if used >= self.capacity.slots:
            return None
        cell = Exhausted() if self.halted() else self.source.next_cell()
        if isinstance(cell, Exhausted):
            return None if self.running else Searcher.FINISHED
        if isinstance(cell, Wait):
            self._not_before = time.monotonic() + _PATIENCE_SECONDS
            return None
        seat, slots = self._seat(cell), self.capacity.slots
        if cell.workers * seat.slots > slots:
            raise Unplaceable(f"cell {cell.key}", cell.workers, slots, seat.slots)
        self.running[trial_id] = cell
        return trial_config(cell, self.storage, seat)

    def _seat(self, cell: PlannedCell) -> Seat:
        return self.capacity.seat(cell.workers, cell.threads, cell.gpu_share)

    def stop_after(self, trial_id: str, event: CellEvent) -> CellStopped | None:
        """The end that the driver makes after an event: pruned by the source, or halted."""
        cell = self.running[trial_id]
        if isinstance(event, EndEvent):
            return None
        if self.source.reported(cell, event):
            state = State.PRUNED
        elif self.halted():
            state = State.UNFINISHED
        else:
            return None
        if cell.workers > 1:  # a single worker computes nothing between two steps
            stop_file(Path(self.storage), cell.key).touch()
        return CellStopped(cell.key, state)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """The stopper has seen it."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the source how the cell ended; of an error, ``failed`` knows the kind."""
        if error:
            return
        cell = self.running.pop(trial_id)
        event = (result or {}).get(END) or (result or {}).get(EVENT)
        if not isinstance(event, EndEvent):
            event = CellFailed(cell.key, "its process was lost", FailureKind.LOST_PROCESS)
        self.source.ended(cell, event)

    def failed(self, trial_id: str, failure: CellFailed) -> None:
        """Tune has given the trial up."""
        self.source.ended(self.running.pop(trial_id), failure)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger is the resume."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the ledger is the resume."""


class CellStopper(Stopper):  # type: ignore[misc]
    """Ends a trial after the event at which the searcher says so.

    Its cell's checkpoint was saved before the event was told, so that nothing is lost.
    """

    def __init__(self, searcher: CellSearcher) -> None:
        self.searcher = searcher

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its stopper for a restore that never happens."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial ends here; the end is then laid beside the event."""
        end = self.searcher.stop_after(trial_id, result[EVENT])
        if end is not None:
            result[END] = end
        return end is not None

    def stop_all(self) -> bool:
        """Trials are ended one by one, each after an event."""
        return False
