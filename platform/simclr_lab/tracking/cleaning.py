"""What no record points to: found by looking, removed under leases. Records are never touched."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from simclr_lab.tracking import home
from simclr_lab.tracking.lease import Lease, all_leases, held
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.training.attempts import attempt_folder, leftovers, size, stored_cells

_LOG = re.compile(r"(?P<study>.*)-\d{8}-\d{6}\.log")
_CELL_SCRATCH = re.compile(r"(?P<key>[0-9a-f]{20})-.*")


@dataclass(frozen=True)
class Rubbish:
    """Something that no record points to; ``lease`` is the name of the lease that guards it."""

    path: Path
    what: str
    bytes: int
    touched: float
    lease: str | None = None


def find_rubbish(ledger: Ledger, *, older_than: float) -> list[Rubbish]:
    """Everything in the home that no record points to, untouched for ``older_than`` seconds.

    The age protects what is written before its record is: a cell's first checkpoint while the
    ledger is away.
    """
    before = time.time() - older_than
    found = [*_attempts(ledger), *_scratch(), *_logs(ledger), *_leases(ledger)]
    return [item for item in found if item.touched <= before and not _leased(item)]


def remove(item: Rubbish) -> bool:
    """Remove it, unless somebody has taken its lease or touched it meanwhile; whether it went."""
    lease = Lease(item.lease) if item.lease else None
    if lease is not None and not lease.acquire():
        return False
    if item.what == "lease":
        assert lease is not None
        lease.forget()
        return True
    untouched = item.path.exists() and _touched(item.path) <= item.touched
    if untouched and item.path.is_dir():
        shutil.rmtree(item.path)
        with suppress(OSError):  # the cell's other attempts
            item.path.parent.rmdir()
    elif untouched:
        item.path.unlink()
    if lease is not None:
        lease.release()
    return untouched


def _attempts(ledger: Ledger) -> Iterator[Rubbish]:
    """Attempts without a record, and what a kill left in the folders of the others."""
    used = ledger.attempts_in_use()
    for key, attempt in stored_cells(home.storage()):
        folder, lease = attempt_folder(home.storage(), key, attempt), f"cell-{key}"
        if (key, attempt) not in used:
            yield _rubbish(folder, "attempt", lease)
        else:
            yield from (_rubbish(path, "torn file", lease) for path in leftovers(folder))


def _scratch() -> Iterator[Rubbish]:
    """Folders of Ray Tune and Ray Train, whose studies and cells are over."""
    folder = home.storage() / "scratch"
    studies_run = held("study-") is not None
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        cell = _CELL_SCRATCH.fullmatch(path.name)
        if cell or not studies_run:
            yield _rubbish(path, "scratch", f"cell-{cell['key']}" if cell else None)


def _logs(ledger: Ledger) -> Iterator[Rubbish]:
    """Logs of studies that the ledger does not know."""
    folder = home.home() / "logs"
    known = {study.study for study in ledger.studies()}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        log = _LOG.fullmatch(path.name)
        if log and log["study"] not in known and held(f"study-{log['study']}-") is None:
            yield _rubbish(path, "log", None)


def _leases(ledger: Ledger) -> Iterator[Rubbish]:
    """Lock files of cells and studies that the ledger does not know."""
    names = {f"cell-{key}" for key in ledger.cells()}
    names |= {Lease(f"study-{s.study}-{s.scale}").file for s in ledger.studies()}
    for name in all_leases():
        if name.startswith(("cell-", "study-")) and name not in names:
            yield _rubbish(home.leases() / f"{name}.lock", "lease", name)


def _rubbish(path: Path, what: str, lease: str | None) -> Rubbish:
    return Rubbish(path, what, size(path), _touched(path), lease)


def _touched(path: Path) -> float:
    """When anything in it was last changed, as Unix time."""
    inside = [file.stat().st_mtime for file in path.rglob("*")] if path.is_dir() else []
    return max([path.stat().st_mtime, *inside])


def _leased(item: Rubbish) -> bool:
    if item.lease is None:
        return False
    lease = Lease(item.lease)
    if not lease.acquire():
        return True
    lease.release()
    return False
