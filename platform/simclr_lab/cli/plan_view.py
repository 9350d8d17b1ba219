"""The plan as a person reads it: what will be done about how many cells, and what it may cost."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from simclr_lab.cli.estimate import Estimate
from simclr_lab.cli.exits import output
from simclr_lab.cli.fitness import free_disk, in_units
from simclr_lab.tuning.plan import Action, PlannedCell

SHOWN = 40
LAUNCHES_OR_REUSES = (Action.RUN, Action.CONTINUE, Action.EVALUATE, Action.REUSE)


def show_plan(title: str, cells: Sequence[PlannedCell]) -> None:
    """Counts per action, and the cells one by one while they are few."""
    output.print(f"{title}: {len(cells)} cells: {counted(cells)}", markup=False)
    for cell in list(cells)[:SHOWN]:
        line = f"  {cell.action:<13} {cell.key[:8]} seed {cell.seed}  {cell.arm}{size(cell)}"
        output.print(line, markup=False)
    if len(cells) > SHOWN:
        output.print(f"  ... and {len(cells) - SHOWN} more")


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


def show_estimate(estimate: Estimate, unit: str) -> None:
    """What the launch may cost, a line for each thing that is spent; nothing where none is."""
    if not estimate.cells:
        return
    slots = f", {estimate.slots} at once here" if estimate.slots is not None else ""
    output.print(f"workers: up to {estimate.widest} a cell{slots}")
    output.print(f"{unit}: {_hours(estimate)}")
    if estimate.memory_bytes is not None:
        output.print(f"memory: {in_units(estimate.memory_bytes)} a worker, at most")
    free = in_units(free_disk())
    output.print(f"disk: about {in_units(estimate.disk_bytes)}, {free} are free")
    if estimate.price is not None:
        amount, currency = estimate.price
        output.print(f"price: about {amount:.2f} {currency}", markup=False)


def _hours(estimate: Estimate) -> str:
    if estimate.worker_hours is None:
        reasons = [*estimate.unmeasured, *(["memory is not enough"] if estimate.too_large else [])]
        return f"unknown: {'; '.join(reasons) or 'not run here before; --probe measures it'}"
    wall = f", {estimate.hours:.2f} hours from start to end" if estimate.hours else ""
    note = "" if estimate.evaluation_counted else ", evaluation not counted"
    return f"about {estimate.worker_hours:.2f}{wall}{note}"


def plain_plan(cells: Sequence[PlannedCell], estimate: Estimate) -> dict[str, Any]:
    """The plan for machines."""
    price = estimate.price and {"amount": estimate.price[0], "currency": estimate.price[1]}
    return {
        "counts": {action.value: n for action, n in Counter(c.action for c in cells).items()},
        "cells": [
            {
                "key": cell.key,
                "arm": cell.arm,
                "seed": cell.seed,
                "action": cell.action.value,
                "workers": cell.workers,
            }
            for cell in cells
        ],
        "launches": estimate.cells,
        "slots": estimate.slots,
        "worker_hours": estimate.worker_hours,
        "hours": estimate.hours,
        "evaluation_counted": estimate.evaluation_counted,
        "memory_bytes_per_worker": estimate.memory_bytes,
        "disk_bytes": estimate.disk_bytes,
        "disk_free_bytes": free_disk(),
        "price": price,
    }
