"""``simclr-lab export`` and ``import``: the ledger in one Parquet file, and back."""

from pathlib import Path

from simclr_lab.cli.exits import Exit, leave, output, unfit_is_exit_4
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.snapshot import SnapshotError, export_snapshot, import_snapshot


def export_ledger(path: Path) -> None:
    """Write the snapshot."""
    with unfit_is_exit_4():
        ledger = Ledger()
        ledger.reachable()
        if not path.resolve().parent.is_dir():
            leave(Exit.BAD_INPUT, f"{path}: its folder does not exist")
        cells, studies = export_snapshot(ledger, path)
    output.print(f"{path}: {cells} cells, {studies} studies", markup=False)


def import_ledger(path: Path) -> None:
    """Add the snapshot's records; exits 3 if some of its cells run here just now."""
    with unfit_is_exit_4():
        ledger = Ledger()
        ledger.reachable(write=True)
        try:
            counts = import_snapshot(ledger, path)
        except SnapshotError as error:
            leave(Exit.BAD_INPUT, str(error))
    output.print(
        f"{path}: {counts['imported']} cells imported, {counts['known']} known already, "
        f"{counts['studies']} studies",
        markup=False,
    )
    if counts["running here"]:
        leave(
            Exit.STOPPED,
            f"{counts['running here']} cells run here just now; import again when they have ended.",
        )
