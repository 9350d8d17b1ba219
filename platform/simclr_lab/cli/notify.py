"""``--notify COMMAND``: told when the first cell fails, and when the launch has ended."""

import json
import os
import shlex
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from simclr_lab.cli.exits import Exit
from simclr_lab.fields import FieldError

DEADLINE_SECONDS = 60.0


class Status(StrEnum):
    """How a launch stands when somebody is told of it."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @classmethod
    def of(cls, code: int) -> "Status":
        """What an exit code means."""
        return {Exit.DONE: cls.DONE, Exit.STOPPED: cls.STOPPED}.get(Exit(code), cls.FAILED)


def parse_command(text: str) -> tuple[str, ...]:
    """A command and its arguments, split as a shell would; no shell is started.

    Raises FieldError for an open quote, or for nothing.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise FieldError("--notify", f"is {text!r}: {error}") from None
    if not words:
        raise FieldError("--notify", "is empty; allowed: a command with its arguments")
    return words


@dataclass
class Notifier:
    """Runs a command with a summary on its standard input; what goes wrong is a warning.

    Args:
        command: program and arguments; none: nobody is told.
        study: name of the study, for ``SIMCLR_LAB_STUDY``.
        deadline: seconds after which the command is ended.
    """

    command: tuple[str, ...]
    study: str
    deadline: float = DEADLINE_SECONDS
    warnings: list[str] = field(init=False, default_factory=list)
    _early: threading.Thread | None = field(init=False, default=None)

    def failed_first(self, summary: Mapping[str, Any]) -> None:
        """Tell of the first failed cell, beside the study; of later ones nobody is told."""
        if self.command and self._early is None:
            self._early = threading.Thread(
                target=self._run, args=(Status.FAILED, dict(summary)), name="notify", daemon=True
            )
            self._early.start()

    def ended(self, status: Status, summary: Mapping[str, Any]) -> None:
        """Tell how the launch ended, after what was told before."""
        if self._early is not None:
            self._early.join(self.deadline + 1)
        if self.command:
            self._run(status, summary)

    def _run(self, status: Status, summary: Mapping[str, Any]) -> None:
        names = {"SIMCLR_LAB_STUDY": self.study, "SIMCLR_LAB_STATUS": status.value}
        try:
            done = subprocess.run(
                self.command,
                input=json.dumps(dict(summary)),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.deadline,
                env=os.environ | names,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._warn(str(error))
            return
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            self._warn(": ".join([f"it ended with exit code {done.returncode}", *last]))

    def _warn(self, what: str) -> None:
        self.warnings.append(f"--notify {shlex.join(self.command)}: {what}")
