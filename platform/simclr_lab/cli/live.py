"""The live table of a terminal: cells that run, and below them how the study stands."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from simclr_lab.cli.progress import RunningCell, StudyProgress, minutes

SHOWN = 20
_REDRAWS_PER_SECOND = 2.0


@dataclass
class LiveTable:
    """Redrawn in place while the study runs; events change it, and are no lines of their own."""

    console: Console

    def opened(self, progress: StudyProgress) -> AbstractContextManager[object]:
        """Draw, and leave the last state on the screen.

        What others print meanwhile stays where it was sent: it belongs to the log.
        """
        return Live(
            get_renderable=lambda: drawn(progress),
            console=self.console,
            refresh_per_second=_REDRAWS_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def line(self, text: str) -> None:
        """The table says it."""


def drawn(progress: StudyProgress) -> Group:
    """The table at this moment, and the summary."""
    table = Table("arm", "seed", "epoch", "latest", "left", box=None, padding=(0, 2, 0, 0))
    cells = list(progress.running.values())
    for cell in cells[:SHOWN]:
        table.add_row(*_row(cell, progress.clock()))
    more = [Text(f"... and {len(cells) - SHOWN} more")] if len(cells) > SHOWN else []
    counts = Text(f"{progress.ended} of {progress.total} cells: {progress.summary()}")
    return Group(*([table] if cells else []), *more, counts)


def _row(cell: RunningCell, now: float) -> list[Text]:
    left = cell.seconds_left(now)
    latest = f"{cell.latest[0]} {cell.latest[1]:.2f}" if cell.latest else ""
    words = (
        cell.arm,
        str(cell.seed),
        f"{cell.epoch} of {cell.epochs}",
        latest,
        minutes(left) if left else "",
    )
    return [Text(word) for word in words]
