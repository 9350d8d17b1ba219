"""``simclr-lab status``: a study's grid of cells, what is missing and why. Reads, never writes."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.table import Table
from rich.text import Text

from simclr_lab.cell import CellRecord, State
from simclr_lab.cli.cell_view import CellView, as_it_is, view_cell
from simclr_lab.cli.exits import Exit, leave, output, unfit_is_exit_4
from simclr_lab.cli.planning import plan_ablation
from simclr_lab.cli.request import Checked, Request, check
from simclr_lab.fields import FieldError
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.spaces.errors import StudyError
from simclr_lab.spaces.sweep import Sweep
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tuning.plan import Action

SHOWN = 10
"""Trials of a sweep that are listed, the best first."""


@dataclass(frozen=True)
class Status:
    """How a study stands; ``next`` counts what the next ``run`` would do."""

    study: str
    scale: str
    kind: str
    metric: str
    cells: list[CellView]
    next: dict[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """State -> number of cells."""
        return dict(Counter(cell.state for cell in self.cells))

    def plain(self) -> dict[str, Any]:
        """Everything, for ``--json``."""
        return asdict(self) | {
            "counts": self.counts,
            "wall_seconds": sum(cell.wall_seconds for cell in self.cells),
            "cpu_seconds": sum(cell.cpu_seconds for cell in self.cells),
        }


def show_status(request: Request, *, as_json: bool) -> None:
    """Print how a study stands at a scale."""
    try:
        checked = check(request)
    except (StudyError, FieldError) as error:
        leave(Exit.BAD_INPUT, str(error))
    with unfit_is_exit_4():
        ledger = Ledger()
        ledger.reachable()
        known = as_it_is(ledger.cells())
        if isinstance(checked.study, Ablation):
            status = _ablation(checked, checked.study, ledger, known)
        else:
            status = _sweep(checked, checked.study, ledger, known)
    if as_json:
        output.print(json.dumps(status.plain(), indent=1), markup=False)
        return
    output.print(f"{status.study} at scale {status.scale}, {status.metric}", markup=False)
    output.print(_grid(status.cells) if status.kind == "ablation" else _best(status.cells))
    _show_failures(status.cells)
    _show_sums(status)


def _ablation(
    checked: Checked, study: Ablation, ledger: Ledger, known: dict[str, CellRecord]
) -> Status:
    planned = plan_ablation(checked, study, known)
    cells = [
        replace(
            view_cell(ledger, cell.place, known.get(cell.key), study.metric),
            next=cell.action.value,
        )
        for cell in planned
    ]
    return Status(
        study=study.name,
        scale=checked.scale,
        kind="ablation",
        metric=study.metric,
        cells=cells,
        next=dict(Counter(cell.action.value for cell in planned)),
    )


def _sweep(checked: Checked, study: Sweep, ledger: Ledger, known: dict[str, CellRecord]) -> Status:
    place = ledger.study(study.name, checked.scale)
    places = place.cells if place else ()
    cells = [view_cell(ledger, cell, known.get(cell.key), study.metric) for cell in places]
    open_states = (State.RUNNING, State.UNFINISHED, State.MISSING)
    left = {
        Action.CONTINUE.value: sum(cell.state in open_states for cell in cells),
        Action.RUN.value: max(0, study.trials_at(checked.request.scale) - len(cells)),
    }
    return Status(
        study=study.name,
        scale=checked.scale,
        kind="sweep",
        metric=study.metric,
        cells=cells,
        next={action: count for action, count in left.items() if count},
    )


def _grid(cells: Sequence[CellView]) -> Table:
    """Arms down, seeds across."""
    seeds = sorted({cell.seed for cell in cells})
    table = Table("arm", *(f"seed {seed}" for seed in seeds))
    for arm in dict.fromkeys(cell.arm for cell in cells):
        words = {cell.seed: cell.words() for cell in cells if cell.arm == arm}
        table.add_row(Text(arm), *(Text(words.get(seed, "")) for seed in seeds))
    return table


def _best(cells: Sequence[CellView]) -> Table:
    """The best trials, then those without a value."""

    def order(cell: CellView) -> tuple[bool, float]:
        return cell.value is None, -(cell.value or 0.0)

    table = Table("key", "state", "trial")
    for cell in sorted(cells, key=order)[:SHOWN]:
        table.add_row(Text(cell.key[:8]), Text(cell.words()), Text(cell.arm))
    return table


def _show_failures(cells: Sequence[CellView]) -> None:
    for cell in cells:
        if cell.state == State.FAILED:
            kind = f" ({cell.reason_kind})" if cell.reason_kind else ""
            line = f"failed  {cell.key} seed {cell.seed}{kind}: {cell.reason or 'no reason'}"
            output.print(line, markup=False)


def _show_sums(status: Status) -> None:
    counts = ", ".join(f"{count} {state}" for state, count in status.counts.items())
    output.print(f"{len(status.cells)} cells: {counts or 'none yet'}", markup=False)
    plain = status.plain()
    hours = plain["wall_seconds"] / 3600, plain["cpu_seconds"] / 3600
    output.print(f"spent: about {hours[0]:.2f} hours of cells, {hours[1]:.2f} CPU-hours")
    todo = ", ".join(f"{n} to {action}" for action, n in status.next.items() if action != "failed")
    failed = status.next.get(Action.FAILED.value)
    note = f"; {failed} failed, for --retry-failed" if failed else ""
    output.print(f"run would find: {todo or 'nothing to do'}{note}", markup=False)
