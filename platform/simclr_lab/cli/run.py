"""``simclr-lab run``: read and check, plan against the ledger, and only then launch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import typer

from simclr_lab.cell import CellRecord, State, StudyRecord
from simclr_lab.cli.exits import Exit, leave, output, unfit_is_exit_4
from simclr_lab.cli.launch import Launch, hold_study, judge_orphans
from simclr_lab.cli.plan_view import show_plan, worker_hours
from simclr_lab.cli.planning import plan_ablation, planned
from simclr_lab.cli.progress import StudyProgress
from simclr_lab.cli.request import Checked, Request, check
from simclr_lab.cli.tuned import (
    TunedPlan,
    plan_tuned,
    reused_before,
    show_tuned_plan,
    tuned_record,
    tuned_source,
)
from simclr_lab.data.sources import dataset_digest
from simclr_lab.fields import FieldError
from simclr_lab.identity import cell_key
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.spaces.errors import StudyError
from simclr_lab.spaces.files import Study
from simclr_lab.spaces.search import PRUNING_METRIC
from simclr_lab.spaces.sweep import Sweep
from simclr_lab.tracking.home import storage, sweeps
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.training.attempts import newest_attempt
from simclr_lab.tuning.optuna_source import OptunaSource
from simclr_lab.tuning.optuna_study import open_study
from simclr_lab.tuning.plan import Action, PlannedCell, Replicate, plan_cell
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
    if request.force and isinstance(checked.study, Sweep):
        leave(
            Exit.BAD_INPUT,
            "--force opens new attempts of an ablation's cells; a sweep's trials are told already. "
            f"To search anew: simclr-lab forget {checked.study.name} --scale {request.scale}",
        )
    with unfit_is_exit_4():
        _run_checked(checked)


def _run_checked(checked: Checked) -> NoReturn:
    ledger = Ledger()
    ledger.reachable(write=not checked.request.dry_run)
    if checked.request.dry_run:
        _plan_only(checked, ledger)
        raise typer.Exit(Exit.DONE)
    lease = hold_study(checked.study.name, checked.scale)
    try:
        known = judge_orphans(ledger, ledger.cells())
        if isinstance(checked.study, Sweep):
            code = _run_sweep(checked, checked.study, ledger)
        elif (plan := _plan_tuned(checked, checked.study, known)) is not None:
            code = _run_tuned(checked, plan, ledger, known)
        else:
            code = _run_ablation(checked, checked.study, ledger, known)
    finally:
        lease.release()
    raise typer.Exit(code)


def _plan_tuned(
    checked: Checked, study: Ablation, known: Mapping[str, CellRecord]
) -> TunedPlan | None:
    """The plan of an ablation that tunes nuisance fields; None for one that does not."""
    with _wrong_in(study):
        return plan_tuned(checked, study, known, partial(planned, checked))


@contextmanager
def _wrong_in(study: Study) -> Iterator[None]:
    """Exit 2 naming the study's file for whatever is found wrong with it now."""
    try:
        yield
    except FieldError as error:
        leave(Exit.BAD_INPUT, str(StudyError(study.file, error.field, error.problem)))


def _plan_only(checked: Checked, ledger: Ledger) -> None:
    known = ledger.cells()
    study = checked.study
    title = f"{study.name} at scale {checked.scale}"
    if isinstance(study, Ablation):
        if (plan := _plan_tuned(checked, study, known)) is not None:
            show_tuned_plan(title, plan, known)
            return
        cells = plan_ablation(checked, study, known)
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
    domains = study.domains(checked.base, checked.request.scale)
    for name, domain in domains.items():
        output.print(f"  {name}: {domain}", markup=False)
    widest = checked.sizing.widest(checked.base, domains)
    output.print(f"  workers per cell: {'1' if widest == 1 else f'up to {widest}'}")


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


def _launch(checked: Checked, ledger: Ledger, record: StudyRecord) -> Launch:
    dataset, diff = checked.base.data.dataset, checked.request.diff
    return Launch(record, ledger, dataset, checked.targets, diff=diff)


def _run_ablation(
    checked: Checked, study: Ablation, ledger: Ledger, known: Mapping[str, CellRecord]
) -> int:
    cells = plan_ablation(checked, study, known)
    show_plan(f"{study.name} at scale {checked.scale}", cells, worker_hours(cells, known))
    if checked.request.force:
        output.print("If this launch is stopped, the same command without --force continues it.")
    launch = _launch(checked, ledger, _record(checked, cells))
    source = AblationSource(cells, launch.surroundings())
    failed = sum(cell.action is Action.FAILED for cell in cells)
    return _end(launch.run(source, reused=len(cells) - source.remaining() - failed), failed)


def _run_tuned(
    checked: Checked, plan: TunedPlan, ledger: Ledger, known: Mapping[str, CellRecord]
) -> int:
    show_tuned_plan(f"{checked.study.name} at scale {checked.scale}", plan, known)
    earlier = ledger.study(checked.study.name, checked.scale)
    places = earlier.cells if earlier else ()
    record = tuned_record(_record(checked, []), plan, places, known)
    launch = _launch(checked, ledger, record)
    with _wrong_in(checked.study):
        source = tuned_source(checked, plan, places, launch.surroundings())
    failed = sum(cell.action is Action.FAILED for cell in plan.cells)
    code = _end(launch.run(source, reused=reused_before(plan, source)), failed)
    for line in source.outcomes():
        output.print(line, markup=False)
    return Exit.CELLS_FAILED if source.problems() else code


def _run_sweep(checked: Checked, study: Sweep, ledger: Ledger) -> int:
    base = study.base_at(checked.base, checked.request.scale)
    digest = dataset_digest(base.data.dataset)
    launch = _launch(checked, ledger, _record(checked, []))
    outside = launch.surroundings()

    def key(replicate: Replicate) -> str:
        return cell_key(replicate.recipe, replicate.seed, digest)

    def plan(replicate: Replicate) -> PlannedCell:
        return plan_cell(
            replicate,
            outside.known([key(replicate)]),
            data_digest=digest,
            sizing=checked.sizing,
            retry_failed=checked.request.retry_failed,
            newest_attempt=lambda key: newest_attempt(storage(), key),
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
        workers=checked.sizing.widest(base, study.domains(base, scale)),
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
