"""How figures look, and how they are saved: the same bytes for the same numbers."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

OURS, PAPER, FAINT = "#0b5fa5", "#b3541e", "#8a8a8a"
_SETTINGS: Any = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "savefig.dpi": 160,
    "svg.hashsalt": "simclr-lab",
    "svg.fonttype": "none",
}


@contextmanager
def style() -> Iterator[None]:
    """The project's look, for figures made and saved inside."""
    with mpl.rc_context(_SETTINGS):
        yield


def panels(
    count: int, *, width: float = 3.6, height: float = 3.0, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` axes side by side; no window, no global state."""
    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False, sharey=share_y)[0])


def log_axis(axes: Axes) -> None:
    """Logarithmic x with plain numbers at 1, 2 and 5, however short the range is."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def named_ticks(axes: Axes, values: Iterable[float]) -> None:
    """Logarithmic x with a tick at each of a few values."""
    ticks = sorted(set(values))
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
    axes.set_xticks([], minor=True)


def save(figure: Figure, stem: Path) -> list[Path]:
    """``<stem>.png`` and ``<stem>.svg``."""
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "svg")]
    with style():
        figure.savefig(paths[0])
        figure.savefig(paths[1], metadata={"Date": None})
    return paths
