"""A study that cannot go on says so: leaked reservations are freed, a stand-still is named."""

import os
import time
from typing import Any

import ray
from ray import tune

from simclr_lab.training.capacity import SLOT
from simclr_lab.tuning.reaper import reap
from simclr_lab.tuning.searcher import CellSearcher

DEFAULT_MINUTES = 10.0
_EVERY_SECONDS = 5.0


class Stuck(RuntimeError):  # noqa: N818 - reads as what it says
    """Cells wait for a place and none has run for a long time; the message names them."""


def patience() -> float:
    """Seconds without a running cell: ``SIMCLR_LAB_STUCK_MINUTES``, default ten minutes."""
    return 60 * float(os.environ.get("SIMCLR_LAB_STUCK_MINUTES", DEFAULT_MINUTES))


class Watchdog(tune.Callback):  # type: ignore[misc]
    """Looks after the trials between Tune's steps.

    A cell runs from its first event on. Raises Stuck when cells were handed out and none has run
    for ``seconds``.
    """

    def __init__(self, searcher: CellSearcher, seconds: float) -> None:
        self.searcher, self.seconds = searcher, seconds
        self._heard: set[str] = set()
        self._last_run = time.monotonic()
        self._next_look = self._last_run

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore that never happens."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """The trial's cell runs."""
        self._heard.add(trial.trial_id)
        self._last_run = time.monotonic()

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The trial waits for a place again."""
        self._heard.discard(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Free what dead groups hold, and look for a stand-still, every few seconds."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _EVERY_SECONDS
        reap()
        running = self.searcher.running
        self._heard &= running.keys()
        if not running or self._heard:
            self._last_run = now
        elif now - self._last_run > self.seconds:
            raise Stuck(self._message(now - self._last_run))

    def _message(self, seconds: float) -> str:
        cells = ", ".join(
            f"{cell.key} ({cell.workers} worker{'s' if cell.workers > 1 else ''})"
            for cell in self.searcher.running.values()
        )
        free = ray.available_resources()
        return (
            f"Nothing has run for {seconds / 60:.1f} minutes while these cells wait for a place: "
            f"{cells}. Of {self.searcher.capacity.slots} slots {free.get(SLOT, 0):g} are free, "
            f"with {free.get('CPU', 0):g} processors. The same command again continues."
        )
