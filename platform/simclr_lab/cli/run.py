"""``simclr-lab run``: read and check, plan against the ledger, and only then launch."""

from collections.abc import Mapping
from typing import NoReturn

import typer

from simclr_lab.cell import CellRecord, State, StudyRecord
from simclr_lab.cli.exits import Exit, leave, output, unfit_is_exit_4
from simclr_lab.cli.launch import Launch, hold_study, judge_orphans
from simclr_lab.cli.plan_view import show_plan, worker_hours
from simclr_lab.cli.planning import plan_ablation
from simclr_lab.cli.progress import StudyProgress
from simclr_lab.cli.request import Checked, Request, check
from simclr_lab.data.sources import dataset_digest
from simclr_lab.fields import FieldError
from simclr_lab.identity import cell_key
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.spaces.errors import StudyError
from simclr_lab.spaces.sweep import Sweep
from simclr_lab.tracking.home import journal, storage
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.training.attempts import newest_attempt
from simclr_lab.tuning.optuna_source import OptunaSource, open_study
from simclr_lab.tuning.plan import Action, PlannedCell, Replicate, plan_cell
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
        if isinstance(checked.study, Ablation):
            code = _run_ablation(checked, checked.study, ledger, known)
        else:
            code = _run_sweep(checked, checked.study, ledger)
    finally:
        lease.release()
    raise typer.Exit(code)


def _plan_only(checked: Checked, ledger: Ledger) -> None:
    known = ledger.cells()
    study = checked.study
    title = f"{study.name} at scale {checked.scale}"
    if isinstance(study, Ablation):
        cells = plan_ablation(checked, study, known)
        show_plan(title, cells, worker_hours(cells, known))
        return
    place = ledger.study(study.name, checked.scale)
    keys = [cell.key for cell in place.cells] if place else []
    done = sum(known[key].state is State.FINISHED for key in keys if key in known)
    output.print(
        f"{title}: {study.trials_at(checked.request.scale)} trials wanted, {done} finished",
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
    cells = plan_ablation(checked, study, known)
    show_plan(f"{study.name} at scale {checked.scale}", cells, worker_hours(cells, known))
    if checked.request.force:
        output.print("If this launch is stopped, the same command without --force continues it.")
    launch = Launch(
        _record(checked, cells), ledger, checked.base.data.dataset, diff=checked.request.diff
    )
    source = AblationSource(cells, launch.surroundings())
    failed = sum(cell.action is Action.FAILED for cell in cells)
    return _end(launch.run(source, reused=len(cells) - source.remaining() - failed), failed)


def _run_sweep(checked: Checked, study: Sweep, ledger: Ledger) -> int:
    base = study.base_at(checked.base, checked.request.scale)
    digest = dataset_digest(base.data.dataset)
    launch = Launch(_record(checked, []), ledger, base.data.dataset, diff=checked.request.diff)
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
            newest_attempt=lambda key: newest_attempt(storage(), key),
        )

    source = OptunaSource(
        study=open_study(journal(), f"{study.name}@{checked.scale}"),
        domains=study.domains(base, checked.request.scale),
        base=base,
        seed=checked.seeds[0],
        trials=study.trials_at(checked.request.scale),
        metric=study.metric,
        chance=CHANCE[base.data.dataset],
        sampler=study.sampler.name,
        sampler_seed=study.sampler.seed,
        sampler_options=study.sampler.options(),
        key=key,
        plan=plan,
        outside=outside,
    )
    output.print(
        f"{study.name} at scale {checked.scale}: {source.trials} trials wanted, "
        f"{source.remaining()} to run, metric {study.metric}",
        markup=False,
    )
    code = _end(launch.run(source, reused=source.trials - source.remaining()), 0)
    if source.space_exhausted():
        output.print("The space is exhausted: it has fewer different cells than trials wanted.")
    return code


def _end(progress: StudyProgress, failed_before: int) -> int:
    output.print(progress.summary(), markup=False)
    if progress.failed or failed_before:
        count = len(progress.failed) + failed_before
        output.print(
            f"{count} failed cells keep their reason in the ledger; --retry-failed runs them again."
        )
        return Exit.CELLS_FAILED
    return Exit.DONE
