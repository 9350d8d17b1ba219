"""``simclr-lab migrate``: an older ledger brought up to date in place."""

from contextlib import suppress

from simclr_lab.cli.exits import Exit, leave, output, unfit_is_exit_4
from simclr_lab.tracking import schema
from simclr_lab.tracking.lease import held
from simclr_lab.tracking.ledger import Ledger, LedgerUnreadable
from simclr_lab.tracking.migration import migrate


def migrate_ledger() -> None:
    """Migrate the ledger; exits 3 while something runs, 4 for a schema from a later time."""
    with unfit_is_exit_4():
        ledger = Ledger()
        with suppress(LedgerUnreadable):  # which is what this command is for
            ledger.reachable(write=True)
        if owner := held():
            leave(Exit.STOPPED, f"{owner}. Migrate when nothing runs.")
        count = migrate(ledger)
    done = f"{count} runs migrated" if count else "up to date"
    output.print(f"schema {schema.SCHEMA}: {done}", markup=False)
