"""Tune's callbacks as one call per event of a cell, on the driver."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ray import tune

from simclr_lab.training.events import CellEvent, CellFailed, FailureKind
from simclr_lab.training.task import CellTask
from simclr_lab.tuning.failures import KernelKills, kind_of
from simclr_lab.tuning.searcher import CellSearcher
from simclr_lab.tuning.trial import END, EVENT, last_lines


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
        log = _log(getattr(trial, "error_file", None))
        reason = log.splitlines()[-1].strip() if log else "its process was lost"
        failed = CellFailed(trial.config["task"].key, reason, self._kind(trial), log)
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


def _log(path: str | None) -> str:
    """The end of the file where Tune keeps an error: it names the process and how it ended."""
    if path is None:
        return ""
    try:
        return last_lines(Path(path).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
