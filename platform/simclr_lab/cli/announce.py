"""Who is told of a launch besides the person at the screen: a machine, and a command."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import typer

from simclr_lab.cli.exits import Exit, errors
from simclr_lab.cli.machine import JsonLines, finite
from simclr_lab.cli.notify import Notifier, Status
from simclr_lab.cli.progress import StudyProgress
from simclr_lab.training.events import CellEvent, CellFailed
from simclr_lab.training.run_cell import CellTask


@dataclass
class Announcer:
    """A listener of cell events that passes them on, and says how the launch ended.

    Args:
        study: name of the study.
        scale: name of its scale.
        machine: ``--json``; None without it.
        notifier: ``--notify``.
    """

    study: str
    scale: str
    machine: JsonLines | None
    notifier: Notifier
    progress: StudyProgress | None = field(init=False, default=None)
    arm: Callable[[str], str] = field(init=False, default=lambda key: "")
    stopped_by: str | None = field(init=False, default=None)

    def plan(self, fields: Mapping[str, Any]) -> None:
        """What will be done."""
        if self.machine is not None:
            self.machine.write("plan", {"study": self.study, "scale": self.scale} | dict(fields))

    def heard(self, task: CellTask, event: CellEvent) -> None:
        """One event of one cell."""
        if self.machine is not None:
            self.machine.cell(task, self.arm(task.key), event)
        if isinstance(event, CellFailed):
            failure = {"key": task.key, "reason": event.reason, "kind": event.kind.value}
            self.notifier.failed_first(self._summary(Status.FAILED) | {"failure": failure})

    @contextmanager
    def told_of_the_end(self) -> Iterator[None]:
        """Tell how what is done here ended, whichever way; it always ends by leaving."""
        code: int = Exit.CELLS_FAILED
        try:
            yield
            code = Exit.DONE
        except typer.Exit as end:
            code = end.exit_code
            raise
        except KeyboardInterrupt:
            code = Exit.STOPPED
            raise
        finally:
            self._ended(code)

    def _ended(self, code: int) -> None:
        status = Status.of(code)
        summary = self._summary(status) | {"exit_code": int(code)}
        if self.machine is not None:
            self.machine.write("summary", summary)
        self.notifier.ended(status, summary)
        for warning in self.notifier.warnings:
            errors.print(warning, markup=False)

    def _summary(self, status: Status) -> dict[str, Any]:
        counts = self.progress.plain() if self.progress is not None else {}
        plain: dict[str, Any] = finite(
            {"study": self.study, "scale": self.scale, "status": status.value}
            | counts
            | ({"stopped_by": self.stopped_by} if self.stopped_by else {})
        )
        return plain


def silent(study: str, scale: str) -> Announcer:
    """Tells nobody."""
    return Announcer(study, scale, None, Notifier((), study))
