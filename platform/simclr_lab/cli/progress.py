"""What a person sees while a study runs: one live line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from simclr_lab.cell import State
from simclr_lab.training.events import (
    CellEnded,
    CellEpoch,
    CellEvent,
    CellFailed,
    CellStarted,
    CellStopped,
)
from simclr_lab.training.task import CellTask


@dataclass
class StudyProgress:
    """Counts cells and keeps the best metric; a listener of cell events.

    Args:
        console: where to print.
        total: cells to launch.
        reused: cells that need no launch.
        metric: the study's metric.
        live: draw one bar that is redrawn; otherwise print one line per event.
    """

    console: Console
    total: int
    reused: int
    metric: str
    live: bool
    slots: int = 1  # cells of one worker that run at once
    done: int = field(init=False, default=0)
    pruned: int = field(init=False, default=0)
    failed: list[str] = field(init=False, default_factory=list)
    best: tuple[float, str] | None = field(init=False, default=None)
    _running: dict[str, float] = field(init=False, default_factory=dict)
    _seconds: list[float] = field(init=False, default_factory=list)
    _bar: Progress | None = field(init=False, default=None)
    _task: TaskID | None = field(init=False, default=None)

    def __enter__(self) -> Self:
        if self.live:
            self._bar = Progress(
                TextColumn("cells"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                console=self.console,
            )
            self._task = self._bar.add_task("starting", total=self.total)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def heard(self, task: CellTask, event: CellEvent) -> None:
        """Show one event."""
        match event:
            case CellStarted():
                self._running.setdefault(task.key, time.monotonic())
                note = f", {len(event.history)} reports kept" if event.history else ""
                self._line(f"started   {task.key} seed {task.seed}{note}")
            case CellEpoch():
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
                self._line(f"{event.state.value:<9} {task.key}, its checkpoint is kept")
        self._redraw()

    def _ended(self) -> int:
        return self.done + self.pruned + len(self.failed)

    def _end(self, key: str) -> None:
        began = self._running.pop(key, None)
        if began is not None:
            self._seconds.append(time.monotonic() - began)

    def summary(self) -> str:
        """Counts, best so far and time left, in one line."""
        parts = [
            f"{self.done} done",
            f"{len(self._running)} running",
            f"{len(self.failed)} failed",
            f"{self.reused} reused",
        ]
        if self.pruned:
            parts.append(f"{self.pruned} pruned")
        if self.best:
            parts.append(f"best {self.metric} {self.best[0]:.2f} ({self.best[1][:8]})")
        if left := self._seconds_left():
            parts.append(f"about {max(1, round(left / 60))} min left")
        return ", ".join(parts)

    def _seconds_left(self) -> float:
        """From the mean time of the cells that ended, at the cluster's width."""
        waiting = self.total - self._ended()
        if not self._seconds or waiting <= 0:
            return 0.0
        return sum(self._seconds) / len(self._seconds) * waiting / max(self.slots, 1)

    def _redraw(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._ended(), description=self.summary())

    def _line(self, text: str) -> None:
        if self._bar is None:
            self.console.print(f"[{self._ended()}/{self.total}] {text}", markup=False)


def _short(metrics: Mapping[str, float]) -> str:
    """The metrics that a person follows."""
    shown = ("train/loss", "ridge/val_top1", "linear/val_top1", "linear/test_top1")
    return ", ".join(f"{name} {metrics[name]:.2f}" for name in shown if name in metrics)
