"""``simclr-lab clean``: what no record points to."""

from simclr_lab.cli.exits import output, unfit_is_exit_4
from simclr_lab.tracking.cleaning import find_rubbish, remove
from simclr_lab.tracking.ledger import Ledger


def clean_home(older_than_hours: float, *, dry_run: bool) -> None:
    """Remove files that no record points to, or with ``dry_run`` list them."""
    with unfit_is_exit_4():
        ledger = Ledger()
        ledger.reachable()
        found = find_rubbish(ledger, older_than=3600 * older_than_hours)
        gone = found if dry_run else [item for item in found if remove(item)]
    for item in gone:
        output.print(f"  {item.what:<10} {item.bytes:>14,} bytes  {item.path}", markup=False)
    verb = "would be removed" if dry_run else "removed"
    total = sum(item.bytes for item in gone)
    output.print(f"{verb}: {len(gone)} things that no record points to, {total:,} bytes")
