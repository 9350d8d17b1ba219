"""The plan as a person reads it: what will be done about how many cells, and what it may cost."""

from collections import Counter
from collections.abc import Mapping, Sequence

from simclr_lab.cell import CellRecord, State
from simclr_lab.cli.exits import output
from simclr_lab.tuning.plan import Action, PlannedCell

SHOWN = 40
LAUNCHES_OR_REUSES = (Action.RUN, Action.CONTINUE, Action.EVALUATE, Action.REUSE)


def show_plan(title: str, cells: Sequence[PlannedCell], hours: float | None) -> None:
    """Counts per action, and the cells one by one while they are few."""
    output.print(f"{title}: {len(cells)} cells: {counted(cells)}", markup=False)
    for cell in list(cells)[:SHOWN]:
        line = f"  {cell.action:<13} {cell.key[:8]} seed {cell.seed}  {cell.arm}{size(cell)}"
        output.print(line, markup=False)
    if len(cells) > SHOWN:
        output.print(f"  ... and {len(cells) - SHOWN} more")
    if any(cell.launches for cell in cells):
        show_hours(hours)


def size(cell: PlannedCell) -> str:
    """Workers, threads and the part of a GPU, where they are not what every cell has."""
    if not cell.launches:
        return ""
    parts = [f"{cell.workers} workers"] if cell.workers > 1 else []
    if cell.threads not in (None, 1):
        parts.append(f"{cell.threads} threads a worker")
    if cell.gpu_share != 1 and cell.workers == 1:
        parts.append(f"{cell.gpu_share} of a GPU")
    return "".join(f", {part}" for part in parts)


def counted(cells: Sequence[PlannedCell]) -> str:
    """How many cells each action has."""
    counts = Counter(cell.action for cell in cells)
    parts = [f"{counts[action]} to {action}" for action in LAUNCHES_OR_REUSES if counts[action]]
    if counts[Action.FAILED]:
        parts.append(f"{counts[Action.FAILED]} failed before")
    return ", ".join(parts) or "none"


def show_hours(hours: float | None) -> None:
    """What the cells to run may cost; None where nobody knows."""
    known = "unknown: no cell of these shapes is recorded yet"
    output.print(f"worker-hours: {f'about {hours:.2f}' if hours is not None else known}")


def worker_hours(cells: Sequence[PlannedCell], records: Mapping[str, CellRecord]) -> float | None:
    """Hours of the cells to run, from the measured throughput of recorded cells of the same shape.

    None where a shape has not been run before.
    """
    rates: dict[tuple[object, ...], float] = {}
    for record in records.values():
        rate = record.metrics.get("cost/images_per_second")
        if record.state is State.FINISHED and rate:
            rates[_shape(record.recipe)] = rate
    seconds = 0.0
    for cell in cells:
        if cell.action not in (Action.RUN, Action.CONTINUE) or not cell.recipe.trains:
            continue
        rate = rates.get(_shape(cell.recipe.flat()))
        if rate is None:
            return None
        seconds += cell.recipe.epochs * cell.recipe.pretrain_images / rate * cell.workers
    return seconds / 3600


def _shape(recipe: Mapping[str, object]) -> tuple[object, ...]:
    """What throughput depends on most."""
    names = ("encoder.depth", "encoder.width", "encoder.channels", "encoder.stem", "batch_size")
    return tuple(recipe.get(n) for n in (*names, "data.image_size", "compute.precision"))
