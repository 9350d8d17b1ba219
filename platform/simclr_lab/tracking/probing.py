"""Whether a ledger is there, found out in seconds; MLflow itself would try for minutes."""

import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from filelock import FileLock

_PROBE_SECONDS = 5.0
_OPENING_SECONDS = 60.0


def answers(uri: str) -> bool:
    """Whether a server, if the ledger is one, answers now."""
    try:
        if uri.startswith("http"):
            probe(uri)
    except OSError:
        return False
    return True


def probe(uri: str, *, write: bool = False) -> None:
    """Raises sqlite3.Error or OSError where MLflow would try for minutes.

    Args:
        uri: of a server, or of an sqlite file; nothing is known of others.
        write: whether the file must be open to writing.
    """
    if uri.startswith("http"):
        with urllib.request.urlopen(f"{uri}/health", timeout=_PROBE_SECONDS):
            return
    if not uri.startswith("sqlite:///"):
        return
    path = Path(uri.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=_PROBE_SECONDS)) as connection:
        connection.execute("pragma schema_version")
        if write:
            _probe_writing(connection)


@contextmanager
def first_opening(uri: str) -> Iterator[None]:
    """One process at a time: MLflow makes a new file's tables without a lock of its own.

    Where nothing can be written no table is made either.
    """
    if not uri.startswith("sqlite:///"):
        yield
        return
    lock = FileLock(f"{uri.removeprefix('sqlite:///')}.lock")
    with suppress(OSError):
        lock.acquire(timeout=_OPENING_SECONDS)
    try:
        yield
    finally:
        lock.release()


def _probe_writing(connection: sqlite3.Connection) -> None:
    """A change that is taken back: opening a transaction alone is allowed on what is read-only."""
    try:
        connection.execute("begin immediate")
        connection.execute("create table simclr_probe (x)")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:  # busy: somebody else writes
            raise
    connection.rollback()
