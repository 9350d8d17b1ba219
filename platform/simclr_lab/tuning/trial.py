"""One Tune trial is one cell: its events, one a step, in the trial's own process or from Ray Train.

The process is used again for the next cell (starting one costs seconds), but only for so long, and
never after a failure.
"""

import os
import traceback
from collections.abc import Generator
from typing import Any

import psutil
from ray import tune

from simclr_lab.training.capacity import Seat
from simclr_lab.training.events import CellEvent, CellFailed, EndEvent, FailureKind
from simclr_lab.training.run_cell import CellTask
from simclr_lab.training.trainer import run_on_workers
from simclr_lab.training.worker import run_alone
from simclr_lab.tuning.failures import kind_of
from simclr_lab.tuning.plan import PlannedCell

EVENT = "event"
END = "end"
"""Beside the event after which the driver stopped the trial: the end that this makes."""

LOG_LINES = 20
MAX_CELLS = 50
MAX_GROWTH_BYTES = 300 * 2**20


class WornProcess(RuntimeError):  # noqa: N818 - not an error of the cell: Tune starts it afresh
    """This process has run enough cells; the trial goes on in a new one."""


def trial_config(cell: PlannedCell, storage: str, seat: Seat) -> dict[str, Any]:
    """The configuration that Tune carries to the trial; ``seat`` is what each worker asks for."""
    task = CellTask(cell.key, cell.recipe, cell.seed, storage, cell.attempt)
    return {"task": task, "workers": cell.workers, "seat": seat}


def trial_resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """Tickets of a trial: one bundle a worker, so that a large cell may span nodes.

    A cell of one worker computes in the trial's process and takes its processors, or its part of a
    GPU, there; a larger one holds tickets only, while Ray Train asks for the devices.
    """
    workers, seat = config["workers"], config["seat"]
    if workers == 1:
        return tune.PlacementGroupFactory([seat.tickets | seat.devices])
    return tune.PlacementGroupFactory([seat.tickets] * workers)


class CellTrial(tune.Trainable):  # type: ignore[misc]
    """Runs cells one after another; ``step`` returns the next event of the current one."""

    def setup(self, config: dict[str, Any], shared: dict[str, Any] | None = None) -> None:
        """Open the first cell. ``shared`` holds references to the decoded dataset."""
        self.shared = shared or {}
        self.cells = 0
        self.failed = False
        self.bytes_after_first: int | None = None
        self._open(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Open the next cell in the same process."""
        if self.bytes_after_first is None:
            self.bytes_after_first = _private_bytes()
        self._close()
        self._open(new_config)
        return True

    def cleanup(self) -> None:
        """Leave the cell before this process ends."""
        self._close()

    def _close(self) -> None:
        """End the former cell, which may have been stopped between two events."""
        try:
            self.events.close()
        except Exception:  # its workers live on; they end with this process
            self.failed = True

    def _open(self, config: dict[str, Any]) -> None:
        task, workers, seat = config["task"], config["workers"], config["seat"]
        self.key = task.key
        self.opened = True
        self.cells += 1
        self.events: Generator[CellEvent, None, None] = (
            run_alone(task, self.shared, seat.threads)
            if workers == 1
            else run_on_workers(task, self.shared, workers=workers, seat=seat)
        )

    def step(self) -> dict[str, Any]:
        """The next event; the last one is marked done. An exception becomes the cell's end.

        Raises what says that a worker or its node was lost: Tune then starts the trial again.
        """
        if self.opened and self.worn():
            raise WornProcess(f"{self.cells} cells in process {os.getpid()}")
        self.opened = False
        try:
            event = next(self.events)
        except StopIteration:
            event = CellFailed(self.key, "the workers ended without a result")
        except Exception as error:
            kind = kind_of(error)
            if kind in (FailureKind.LOST_PROCESS, FailureKind.LOST_NODE):
                raise
            log = last_lines("".join(traceback.format_exception(error)))
            event = CellFailed(self.key, f"{type(error).__name__}: {error}", kind, log)
        self.failed = self.failed or isinstance(event, CellFailed)
        return {EVENT: event, "done": isinstance(event, EndEvent)}

    def worn(self) -> bool:
        """Whether this process should not begin the cell it has just opened."""
        if self.bytes_after_first is None:
            return False
        grown = _private_bytes() - self.bytes_after_first
        return self.failed or self.cells > MAX_CELLS or grown > MAX_GROWTH_BYTES


def last_lines(text: str) -> str:
    """The end of a log, as much as a failed cell keeps."""
    return "\n".join(text.rstrip().splitlines()[-LOG_LINES:])


def _private_bytes() -> int:
    """Memory that this process alone holds; the shared dataset does not count."""
    return int(psutil.Process().memory_full_info().uss)
