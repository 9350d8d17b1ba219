"""Tune's view of a source of cells: it suggests what the source hands out and passes ends back."""

import time
from typing import Any

from ray.tune.search import Searcher

from simclr_lab.training.events import CellFailed, EndEvent
from simclr_lab.tuning.plan import PlannedCell
from simclr_lab.tuning.source import CellSource, Exhausted, Wait
from simclr_lab.tuning.trial import EVENT, trial_config

_PATIENCE_SECONDS = 0.5


class CellSearcher(Searcher):  # type: ignore[misc]
    """Asks ``source`` for one cell at a time while a slot is free, so that it knows what ended.

    Args:
        source: where cells come from.
        storage: where the cells' files are.
        slots: tickets of the cluster; what is handed out never holds more.
    """

    def __init__(self, source: CellSource, storage: str, slots: int) -> None:
        super().__init__()
        self.source, self.storage, self.slots = source, storage, slots
        self.running: dict[str, PlannedCell] = {}
        self._not_before = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher for a restore that never happens; leases cannot travel."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next trial, None for 'not now', or FINISHED."""
        if time.monotonic() < self._not_before:
            return None
        used = sum(cell.workers for cell in self.running.values())
        if used >= self.slots:
            return None
        cell = self.source.next_cell()
        if isinstance(cell, Exhausted):
            return None if self.running else Searcher.FINISHED
        if isinstance(cell, Wait):
            self._not_before = time.monotonic() + _PATIENCE_SECONDS
            return None
        self.running[trial_id] = cell
        return trial_config(cell, self.storage)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing is decided between a cell's start and its end."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the source how the cell ended; a trial without an end lost its process."""
        cell = self.running.pop(trial_id)
        event = (result or {}).get(EVENT)
        if error or not isinstance(event, EndEvent):
            event = CellFailed(cell.key, "its process was lost")
        self.source.ended(cell, event)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger is the resume."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the ledger is the resume."""
