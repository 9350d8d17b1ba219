"""``simclr-lab forget``: a cell, or a study with the cells that no other study lists."""

from pathlib import Path

from simclr_lab.cell import StudyRecord
from simclr_lab.cli.exits import Exit, leave, output, unfit_is_exit_4
from simclr_lab.cli.keys import one_cell
from simclr_lab.cli.request import scale_name
from simclr_lab.tracking.forgetting import (
    Forgetting,
    forget_cell,
    forget_study,
    plan_forgetting,
    refuse_running,
)
from simclr_lab.tracking.home import storage, sweeps
from simclr_lab.tracking.lease import Lease, LeaseHeld
from simclr_lab.tracking.ledger import Ledger


def forget_target(
    target: str, scale: str | None, assignments: tuple[str, ...], *, force: bool, dry_run: bool
) -> None:
    """Forget a study at a scale, or without a scale a cell; exits 3 if something of it runs."""
    with unfit_is_exit_4():
        ledger = Ledger()
        ledger.reachable(write=not dry_run)
        try:
            if scale is None:
                _forget_key(ledger, target, dry_run)
            else:
                _forget_study(ledger, target, scale_name(scale, assignments), force, dry_run)
        except LeaseHeld as error:
            leave(Exit.STOPPED, f"{error}. Nothing that runs is forgotten.")


def _forget_key(ledger: Ledger, target: str, dry_run: bool) -> None:
    record = one_cell(ledger, target)
    what = plan_forgetting(ledger.studies(), storage(), key=record.key)
    refuse_running(what.keys)
    _show(what, dry_run)
    if not dry_run:
        forget_cell(ledger, record.key, storage())


def _forget_study(ledger: Ledger, target: str, scale: str, force: bool, dry_run: bool) -> None:
    name = Path(target).stem if target.endswith(".toml") else target
    study = ledger.study(name, scale)
    if study is None:
        known = sorted(f"{s.study} at {s.scale}" for s in ledger.studies())
        leave(
            Exit.BAD_INPUT,
            f"no study {name!r} at scale {scale!r}; recorded: {', '.join(known) or 'none'}",
        )
    what = plan_forgetting(ledger.studies(), storage(), study=study, force=force)
    lease = Lease(f"study-{name}-{scale}")
    if not lease.acquire():
        raise LeaseHeld(f"{name} at scale {scale} is running: {lease.owner() or 'owner unknown'}")
    try:
        refuse_running(what.keys)
        _show(what, dry_run)
        if not dry_run:
            _forget_all(ledger, study, what)
    finally:
        (lease.release if dry_run else lease.forget)()


def _forget_all(ledger: Ledger, study: StudyRecord, what: Forgetting) -> None:
    """The cells, then Optuna's trials, then the list of cells: a kill in between loses no list."""
    for key in what.keys:
        forget_cell(ledger, key, storage())
    from simclr_lab.tuning.forgetting import forget_trials

    if forget_trials(sweeps(), f"{study.study}@{study.scale}"):
        output.print("Optuna's trials of the study are forgotten with it.")
    forget_study(ledger, study)


def _show(what: Forgetting, dry_run: bool) -> None:
    verb = "would be forgotten" if dry_run else "forgotten"
    output.print(f"{verb}: {len(what.keys)} cells, {what.bytes:,} bytes", markup=False)
    for key in what.keys:
        listed = f"  (listed by {', '.join(what.listed[key])})" if key in what.listed else ""
        output.print(f"  {key}{listed}", markup=False)
    if what.kept:
        output.print(
            f"kept: {len(what.kept)} cells that other studies list (--force forgets them too)"
        )
