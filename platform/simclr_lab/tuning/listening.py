"""Tune's callbacks as one call per event of a cell, on the driver."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ray import tune

from simclr_lab.training.events import CellEvent, CellFailed
from simclr_lab.training.run_cell import CellTask
from simclr_lab.tuning.trial import EVENT, last_lines


class CellListener(Protocol):
    """Is told everything that happens to cells; must not block."""

    def heard(self, task: CellTask, event: CellEvent) -> None:
        """One event of one cell, in the order in which the cell told it."""
        ...


class ListeningCallback(tune.Callback):  # type: ignore[misc]
    """Passes each cell's events to the listeners; a trial that Tune gives up on has failed."""

    def __init__(self, listeners: Sequence[CellListener]) -> None:
        self.listeners = list(listeners)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore that never happens; threads cannot travel."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """One step of a trial is one event of its cell."""
        self._tell(trial, result[EVENT])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The trial's process was lost more often than it is restarted."""
        log = _log(getattr(trial, "error_file", None))
        reason = log.splitlines()[-1].strip() if log else "its process was lost"
        self._tell(trial, CellFailed(trial.config["task"].key, reason, "lost_process", log))

    def _tell(self, trial: Any, event: CellEvent) -> None:
        for listener in self.listeners:
            listener.heard(trial.config["task"], event)


def _log(path: str | None) -> str:
    """The end of the file where Tune keeps an error: it names the process and how it ended."""
    if path is None:
        return ""
    try:
        return last_lines(Path(path).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
