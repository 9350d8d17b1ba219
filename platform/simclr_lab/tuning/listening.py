"""Tune's callbacks as one call per event of a cell, on the driver."""

from collections.abc import Sequence
from typing import Any, Protocol

from ray import tune

from simclr_lab.training.events import CellEvent, CellFailed, FailureKind
from simclr_lab.training.run_cell import CellTask
from simclr_lab.tuning.failures import KernelKills, kind_of
from simclr_lab.tuning.searcher import CellSearcher
from simclr_lab.tuning.trial import END, EVENT


class CellListener(Protocol):
    """Is told everything that happens to cells; must not block."""

    def heard(self, task: CellTask, event: CellEvent) -> None:
        """One event of one cell, in the order in which the cell told it."""
        ...


class ListeningCallback(tune.Callback):  # type: ignore[misc]
    """Passes each cell's events to the listeners; a trial that Tune gives up on has failed."""

    def __init__(self, listeners: Sequence[CellListener], searcher: CellSearcher) -> None:
        self.listeners, self.searcher = list(listeners), searcher
        self.kills = KernelKills()

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore that never happens; threads cannot travel."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """One step of a trial is one event of its cell, the last one where it is stopped there."""
        self._tell(trial, result[EVENT])
        if END in result:
            self._tell(trial, result[END])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The trial's process was lost more often than it is restarted."""
        reason = (trial.error_file and _last_line(trial.error_file)) or "its process was lost"
        failed = CellFailed(trial.config["task"].key, reason, self._kind(trial))
        self.searcher.failed(trial.trial_id, failed)
        self._tell(trial, failed)

    def _kind(self, trial: Any) -> FailureKind:
        error = trial.get_pickled_error()
        kind = kind_of(error) if error is not None else FailureKind.LOST_PROCESS
        killed = kind is FailureKind.LOST_PROCESS and self.kills.more()
        return FailureKind.OUT_OF_MEMORY if killed else kind

    def _tell(self, trial: Any, event: CellEvent) -> None:
        for listener in self.listeners:
            listener.heard(trial.config["task"], event)


def _last_line(path: str) -> str:
    """The last line that says something in the file where Tune keeps an error."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
    except OSError:
        return ""
    return lines[-1] if lines else ""
