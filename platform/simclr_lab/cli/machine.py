"""``--json``: one object a line on standard output for everything that happens to a launch."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from simclr_lab.training.events import (
    CellEnded,
    CellEpoch,
    CellEvent,
    CellFailed,
    CellStarted,
)
from simclr_lab.training.run_cell import CellTask


@dataclass
class JsonLines:
    """Writes events; each line has ``event`` and ``time`` (Unix, seconds), at least."""

    stream: TextIO

    def write(self, event: str, fields: Mapping[str, Any]) -> None:
        """One line, at once."""
        line = {"event": event, "time": round(time.time(), 3)} | dict(fields)
        self.stream.write(json.dumps(finite(line), allow_nan=False) + "\n")
        self.stream.flush()

    def cell(self, task: CellTask, arm: str, event: CellEvent) -> None:
        """One event of one cell."""
        name, fields = described(event)
        self.write(name, {"key": task.key, "arm": arm, "seed": task.seed} | fields)


def described(event: CellEvent) -> tuple[str, dict[str, Any]]:
    """An event's name, as the plain lines have it, and its fields."""
    match event:
        case CellStarted():
            return "started", {"workers": event.world_size, "reports_kept": len(event.history)}
        case CellEpoch():
            report = event.report
            return "reported", {"epoch": report.epoch, "metrics": dict(report.metrics)}
        case CellEnded():
            return "finished", {"outcome": event.outcome.value, "metrics": dict(event.metrics)}
        case CellFailed():
            return "failed", {"kind": event.kind.value, "reason": event.reason}
        case _:
            return event.state.value, {}


def finite(value: Any) -> Any:
    """The same with null for what JSON has no number for."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {name: finite(each) for name, each in value.items()}
        case list() | tuple():
            return [finite(each) for each in value]
        case _:
            return value
