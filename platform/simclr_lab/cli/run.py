"""``simclr-lab run``: read and check, plan against the ledger, and only then launch."""

from collections.abc import Mapping
from typing import Any

import typer

from simclr_lab.cell import CellRecord, State, StudyRecord
from simclr_lab.cli.exits import Exit, leave, output
from simclr_lab.cli.launch import Launch, hold_study, judge_orphans
from simclr_lab.cli.plan_view import show_plan, worker_hours
from simclr_lab.cli.progress import StudyProgress
from simclr_lab.cli.request import Checked, Request, check
from simclr_lab.data.sources import dataset_digest
from simclr_lab.fields import FieldError
from simclr_lab.identity import cell_key
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.spaces.errors import StudyError
from simclr_lab.spaces.search import PRUNING_METRIC
from simclr_lab.spaces.sweep import Sweep
from simclr_lab.tracking.home import sweeps
from simclr_lab.tracking.ledger import Ledger, LedgerUnavailable
from simclr_lab.tuning.optuna_source import OptunaSource
from simclr_lab.tuning.optuna_study import open_study
from simclr_lab.tuning.plan import (
    Action,
    PlannedCell,
    Replicate,
    plan_cell,
    plan_cells,
    reference_replicates,
)
from simclr_lab.tuning.samplers import make_pruner
from simclr_lab.tuning.source import AblationSource

CHANCE = {"cifar10": 10.0}
"""Top-1 in percent of guessing: what a diverged cell scored."""


def run_study(request: Request) -> None:
    """Run a study; always ends with ``typer.Exit`` and the command's exit code."""
    try:
        checked = check(request)
    except (StudyError, FieldError) as error:
        leave(Exit.BAD_INPUT, str(error))
    ledger = Ledger()
    try:
        ledger.reachable()
    except LedgerUnavailable as error:
        leave(Exit.UNFIT, str(error))
    if request.dry_run:
        _plan_only(checked, ledger)
        raise typer.Exit(Exit.DONE)
    lease = hold_study(checked.study.name, checked.scale)
    try:
        known = judge_orphans(ledger, ledger.cells())
        if isinstance(checked.study, Ablation):
            code = _run_ablation(checked, checked.study, ledger, known)
        else:
            code = _run_sweep(checked, checked.study, ledger)
    finally:
        lease.release()
    raise typer.Exit(code)


def _replicates(checked: Checked, study: Ablation) -> list[Replicate]:
    """Every arm with every seed, then the rows without pretraining."""
    arms = study.arms(checked.base, checked.request.scale)
    replicates = [Replicate(arm.label, seed, arm.recipe) for seed in checked.seeds for arm in arms]
    if study.references:
        base = study.base_at(checked.base, checked.request.scale)
        replicates += reference_replicates(base, checked.seeds)
    return replicates


def _plan_ablation(
    checked: Checked, study: Ablation, known: Mapping[str, CellRecord]
) -> list[PlannedCell]:
    return plan_cells(
        _replicates(checked, study),
        known,
        data_digest=dataset_digest(checked.base.data.dataset),
        workers=checked.request.workers,
        retry_failed=checked.request.retry_failed,
    )


def _plan_only(checked: Checked, ledger: Ledger) -> None:
    known = ledger.cells()
    study = checked.study
    title = f"{study.name} at scale {checked.scale}"
    if isinstance(study, Ablation):
        cells = _plan_ablation(checked, study, known)
        show_plan(title, cells, worker_hours(cells, known))
        return
    place = ledger.study(study.name, checked.scale)
    keys = [cell.key for cell in place.cells] if place else []
    ends = (State.FINISHED, State.PRUNED)
    done = sum(known[key].state in ends for key in keys if key in known)
    output.print(
        f"{title}: {study.trials_at(checked.request.scale)} trials wanted, {done} done",
        markup=False,
    )
    for name, domain in study.domains(checked.base, checked.request.scale).items():
        output.print(f"  {name}: {domain}", markup=False)


def _record(checked: Checked, cells: list[PlannedCell]) -> StudyRecord:
    study = checked.study
    return StudyRecord(
        study=study.name,
        scale=checked.scale,
        kind="ablation" if isinstance(study, Ablation) else "sweep",
        metric=study.metric,
        cells=tuple(cell.place for cell in cells),
        definition=study.text,
    )


def _run_ablation(
    checked: Checked, study: Ablation, ledger: Ledger, known: Mapping[str, CellRecord]
) -> int:
    cells = _plan_ablation(checked, study, known)
    show_plan(f"{study.name} at scale {checked.scale}", cells, worker_hours(cells, known))
    launch = Launch(_record(checked, cells), ledger, checked.base.data.dataset, checked.targets)
    source = AblationSource(cells, launch.surroundings())
    failed = sum(cell.action is Action.FAILED for cell in cells)
    return _end(launch.run(source, reused=len(cells) - source.remaining() - failed), failed)


def _run_sweep(checked: Checked, study: Sweep, ledger: Ledger) -> int:
    base = study.base_at(checked.base, checked.request.scale)
    digest = dataset_digest(base.data.dataset)
    launch = Launch(_record(checked, []), ledger, base.data.dataset, checked.targets)
    outside = launch.surroundings()

    def key(replicate: Replicate) -> str:
        return cell_key(replicate.recipe, replicate.seed, digest)

    def plan(replicate: Replicate) -> PlannedCell:
        return plan_cell(
            replicate,
            outside.known([key(replicate)]),
            data_digest=digest,
            workers=checked.request.workers,
            retry_failed=checked.request.retry_failed,
        )

    try:
        source = _optuna_source(checked, study, key=key, plan=plan, outside=outside)
    except FieldError as error:
        leave(Exit.BAD_INPUT, str(StudyError(study.file, error.field, error.problem)))
    output.print(
        f"{study.name} at scale {checked.scale}: {source.trials} trials wanted, "
        f"{source.remaining()} to run, metric {', '.join(study.objectives)}",
        markup=False,
    )
    code = _end(launch.run(source, reused=source.trials - source.remaining()), 0)
    if source.space_exhausted():
        output.print("The space is exhausted: it has fewer different cells than trials wanted.")
    return code


def _optuna_source(checked: Checked, study: Sweep, **given: Any) -> OptunaSource:
    """The sweep's source of cells. Raises FieldError where earlier trials do not go with it."""
    scale = checked.request.scale
    base, pruning = study.base_at(checked.base, scale), study.pruning_at(scale)
    pruner = make_pruner(
        pruning.name if pruning else None, pruning.options() if pruning else {}, epochs=base.epochs
    )
    return OptunaSource(
        study=open_study(sweeps(), f"{study.name}@{checked.scale}", study.objectives, pruner),
        domains=study.domains(base, scale),
        base=base,
        seed=checked.seeds[0],
        trials=study.trials_at(scale),
        metric=study.metric,
        chance=CHANCE[base.data.dataset],
        sampler=study.sampler.name,
        sampler_seed=study.sampler.seed,
        sampler_options=study.sampler.options(),
        objectives=study.objectives,
        cheap_metric=PRUNING_METRIC if pruning else None,
        first=study.first_points(base, scale),
        workers=checked.request.workers,
        retry_failed=checked.request.retry_failed,
        **given,
    )


def _end(progress: StudyProgress, failed_before: int) -> int:
    output.print(progress.summary(), markup=False)
    if progress.failed or failed_before:
        count = len(progress.failed) + failed_before
        output.print(
            f"{count} failed cells keep their reason in the ledger; --retry-failed runs them again."
        )
        return Exit.CELLS_FAILED
    return Exit.DONE
