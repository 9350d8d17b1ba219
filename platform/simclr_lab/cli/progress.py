"""How a launch stands: counted from its cells' events, shown by a view."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console

from simclr_lab.cell import State
from simclr_lab.training.events import (
    CellEnded,
    CellEpoch,
    CellEvent,
    CellFailed,
    CellStarted,
    CellStopped,
)
from simclr_lab.training.run_cell import CellTask

FOLLOWED = ("linear/test_top1", "linear/val_top1", "ridge/val_top1", "train/loss")
"""The metrics that a person follows, the one that says most first."""


@dataclass
class RunningCell:
    """A cell as it runs; ``first`` of its ``epochs`` were done before this launch."""

    arm: str
    seed: int
    epochs: int
    first: int
    began: float
    epoch: int
    latest: tuple[str, float] | None = None

    def seconds_left(self, now: float) -> float | None:
        """From the mean time of its epochs in this launch; None before the first."""
        done = self.epoch - self.first
        return (now - self.began) / done * (self.epochs - self.epoch) if done > 0 else None


class View(Protocol):
    """Where a person sees it."""

    def opened(self, progress: "StudyProgress") -> AbstractContextManager[object]:
        """Show while the context lasts."""
        ...

    def line(self, text: str) -> None:
        """One event in words."""
        ...


@dataclass
class Lines:
    """One plain line an event."""

    console: Console

    def opened(self, progress: "StudyProgress") -> AbstractContextManager[object]:
        """Nothing has to be opened."""
        return nullcontext()

    def line(self, text: str) -> None:
        """Print it."""
        self.console.print(text, markup=False)


@dataclass
class StudyProgress:
    """Counts cells and keeps the best metric; a listener of cell events.

    Args:
        view: where it is shown.
        total: cells to launch.
        reused: cells that need no launch.
        metric: the study's metric.
        arm: key -> name of the cell's arm.
        clock: seconds, from any beginning.
    """

    view: View
    total: int
    reused: int
    metric: str
    arm: Callable[[str], str] = lambda key: ""
    clock: Callable[[], float] = time.monotonic
    slots: int = 1  # cells of one worker that run at once
    done: int = field(init=False, default=0)
    pruned: int = field(init=False, default=0)
    unfinished: int = field(init=False, default=0)
    failed: list[str] = field(init=False, default_factory=list)
    best: tuple[float, str] | None = field(init=False, default=None)
    running: dict[str, RunningCell] = field(init=False, default_factory=dict)
    _seconds: list[float] = field(init=False, default_factory=list)
    _shown: AbstractContextManager[object] | None = field(init=False, default=None)

    def __enter__(self) -> Self:
        self._shown = self.view.opened(self)
        self._shown.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown is not None:
            self._shown.__exit__(kind, error, trace)

    def heard(self, task: CellTask, event: CellEvent) -> None:
        """Count and show one event."""
        match event:
            case CellStarted():
                self._start(task, event)
                note = f", {len(event.history)} reports kept" if event.history else ""
                self._line(f"started   {task.key} seed {task.seed}{note}")
            case CellEpoch():
                self._report(task.key, event)
                self._line(f"reported  {task.key} {_short(event.report.metrics)}")
            case CellEnded():
                self._end(task.key)
                self.done += 1
                value = event.metrics.get(self.metric)
                if value is not None and (self.best is None or value > self.best[0]):
                    self.best = (value, task.key)
                shown = f"{self.metric} {value:.2f}" if value is not None else "no metric"
                self._line(f"finished  {task.key} {event.outcome}, {shown}")
            case CellFailed():
                self._end(task.key)
                self.failed.append(task.key)
                self._line(f"failed    {task.key} {event.reason}")
            case CellStopped():
                self._end(task.key)
                self.pruned += event.state is State.PRUNED
                self.unfinished += event.state is State.UNFINISHED
                self._line(f"{event.state.value:<9} {task.key}, its checkpoint is kept")

    @property
    def ended(self) -> int:
        """Cells that need no more of this launch."""
        return self.done + self.pruned + len(self.failed)

    def summary(self) -> str:
        """Counts, best so far and time left, in one line."""
        parts = [
            f"{self.done} done",
            f"{len(self.running)} running",
            f"{len(self.failed)} failed",
            f"{self.reused} reused",
        ]
        parts += [f"{self.pruned} pruned"] if self.pruned else []
        parts += [f"{self.unfinished} unfinished"] if self.unfinished else []
        if self.best:
            parts.append(f"best {self.metric} {self.best[0]:.2f} ({self.best[1][:8]})")
        if left := self._seconds_left():
            parts.append(f"about {minutes(left)} left")
        return ", ".join(parts)

    def plain(self) -> dict[str, Any]:
        """The same for machines."""
        best = self.best and {"metric": self.metric, "value": self.best[0], "key": self.best[1]}
        return {
            "done": self.done,
            "running": len(self.running),
            "failed": list(self.failed),
            "reused": self.reused,
            "pruned": self.pruned,
            "unfinished": self.unfinished,
            "best": best,
        }

    def _start(self, task: CellTask, event: CellStarted) -> None:
        epoch = event.history[-1].epoch if event.history else 0
        self.running[task.key] = RunningCell(
            arm=self.arm(task.key),
            seed=task.seed,
            epochs=task.recipe.epochs,
            first=epoch,
            began=self.clock(),
            epoch=epoch,
        )

    def _report(self, key: str, event: CellEpoch) -> None:
        cell = self.running.get(key)
        if cell is not None:
            cell.epoch = event.report.epoch
            found = ((n, event.report.metrics[n]) for n in FOLLOWED if n in event.report.metrics)
            cell.latest = next(found, cell.latest)

    def _end(self, key: str) -> None:
        cell = self.running.pop(key, None)
        if cell is not None:
            self._seconds.append(self.clock() - cell.began)

    def _seconds_left(self) -> float:
        """From the mean time of the cells that ended, at the cluster's width."""
        waiting = self.total - self.ended
        if not self._seconds or waiting <= 0:
            return 0.0
        at_once = max(self.slots, len(self.running), 1)  # parts of a GPU are more than slots
        return sum(self._seconds) / len(self._seconds) * waiting / at_once

    def _line(self, text: str) -> None:
        self.view.line(f"[{self.ended}/{self.total}] {text}")


def minutes(seconds: float) -> str:
    """A time to wait, in words."""
    return f"{max(1, round(seconds / 60))} min"


def _short(metrics: Mapping[str, float]) -> str:
    shown = reversed(FOLLOWED)
    return ", ".join(f"{name} {metrics[name]:.2f}" for name in shown if name in metrics)
