"""A cell by its key, or by as much of it as tells it from the others."""

from simclr_lab.cell import CellRecord
from simclr_lab.cli.exits import Exit, leave
from simclr_lab.tracking.ledger import Ledger


def one_cell(ledger: Ledger, start: str) -> CellRecord:
    """The cell whose key begins with ``start``; exits 2 unless there is exactly one."""
    found = {key: record for key, record in ledger.cells().items() if key.startswith(start)}
    if len(found) != 1 or not start:
        leave(
            Exit.BAD_INPUT,
            f"key is {start!r}; {len(found)} recorded cells begin with it, allowed: exactly one",
        )
    return next(iter(found.values()))
