"""``simclr-lab run``: read and check, plan against the ledger, and only then launch."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from simclr_lab.cli.announce import Announcer
from simclr_lab.cli.exits import Exit, leave, output, unfit_is_exit_4
from simclr_lab.cli.launch import hold_study, judge_orphans
from simclr_lab.cli.machine import JsonLines
from simclr_lab.cli.notify import Notifier
from simclr_lab.cli.request import Checked, Request, check
from simclr_lab.cli.run_ablation import plan_of_ablation
from simclr_lab.cli.run_sweep import plan_of_sweep
from simclr_lab.cli.session import Session
from simclr_lab.fields import FieldError
from simclr_lab.spaces.errors import StudyError
from simclr_lab.spaces.sweep import Sweep
from simclr_lab.tracking.ledger import Ledger


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
    with _standard_output(request) as machine:
        if request.dry_run:
            announcer = Announcer(checked.study.name, checked.scale, machine, Notifier((), ""))
            with unfit_is_exit_4():
                _plan_only(checked, announcer)
            raise typer.Exit(Exit.DONE)
        notifier = Notifier(checked.notify, checked.study.name)
        announcer = Announcer(checked.study.name, checked.scale, machine, notifier)
        with announcer.told_of_the_end(), unfit_is_exit_4():
            _run(checked, announcer)


@contextmanager
def _standard_output(request: Request) -> Iterator[JsonLines | None]:
    """With ``--json`` it is for machines alone, and what a person reads goes to standard error."""
    if not request.as_json:
        yield None
        return
    output.stderr = True
    try:
        yield JsonLines(sys.stdout)
    finally:
        output.stderr = False


def _plan_only(checked: Checked, announcer: Announcer) -> None:
    ledger = Ledger()
    ledger.reachable(write=False)
    _plan(Session(checked, ledger, ledger.cells(), announcer))


def _run(checked: Checked, announcer: Announcer) -> NoReturn:
    ledger = Ledger()
    ledger.reachable(write=True)
    lease = hold_study(checked.study.name, checked.scale)
    try:
        known = judge_orphans(ledger, ledger.cells())
        run = _plan(Session(checked, ledger, known, announcer))
        code = run()
    finally:
        lease.release()
    raise typer.Exit(code)


def _plan(session: Session) -> Callable[[], int]:
    """Show the plan and refuse what cannot be run; what is returned runs the rest."""
    study = session.checked.study
    if isinstance(study, Sweep):
        return plan_of_sweep(session, study)
    return plan_of_ablation(session, study)
