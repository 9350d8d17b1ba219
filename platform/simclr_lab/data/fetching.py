"""A dataset from the first source that works, fetched once and kept in the cache."""

import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from simclr_lab.data.cache import Arrays, digests_of, mismatches, read, write, write_record
from simclr_lab.data.unavailable import DataUnavailable

Fetch = Callable[[Path], Arrays]
"""Arrays from one source; the argument is an empty folder to work in, removed afterwards."""

_CONNECT_SECONDS = 15.0
_COMMAND_SECONDS = 600.0


def cached_or_fetched(
    path: Path, digests: Mapping[str, str] | None, sources: Mapping[str, Fetch]
) -> Arrays:
    """The arrays of the cached file, named after the dataset, fetched into it if need be.

    Only arrays of these SHA-256 are accepted. Where ``digests`` is None the sources verify what
    they read, and the digests of what they gave are recorded beside the file. Raises
    DataUnavailable with every source's reason.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        cached = read(path, digests)
        if cached is not None:
            return cached
        arrays = _first(path.stem, digests or {}, sources)
        write(path, arrays)
        if digests is None:
            write_record(path, {"digests": digests_of(arrays)})
        return arrays


def _first(name: str, digests: Mapping[str, str], sources: Mapping[str, Fetch]) -> Arrays:
    """What the first source gives that holds the pinned arrays."""
    reasons: dict[str, str] = {}
    for source, fetch in sources.items():
        try:
            with (
                tempfile.TemporaryDirectory(prefix=f"simclr-{name}-") as folder,
                _progress(f"{name} from {source}"),
            ):
                arrays = fetch(Path(folder))
        except Exception as error:
            reasons[source] = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        wrong = mismatches(arrays, digests)
        if not wrong:
            return arrays
        reasons[source] = f"wrong content in {', '.join(wrong)}"
    raise DataUnavailable(name, reasons)


def folder_first(
    offline: Path | None, read_folder: Fetch, others: Mapping[str, Fetch]
) -> dict[str, Fetch]:
    """``others``, after the user's folder where one is given."""
    given: dict[str, Fetch] = (
        {} if offline is None else {f"folder {offline}": lambda _: read_folder(offline)}
    )
    return given | dict(others)


@contextmanager
def _progress(what: str) -> Iterator[None]:
    """A moving bar with the time passed; no source tells how far it is."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        bar.add_task(what, total=None)
        yield


@contextmanager
def short_connects() -> Iterator[None]:
    """A download that cannot connect gives up soon, whatever library makes it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def run(command: Sequence[str], folder: Path) -> str:
    """Run a tool in ``folder``; returns its output. RuntimeError with its last word if it fails."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
    )
    if done.returncode:
        complaint = " ".join(done.stderr.split())[-300:]
        raise RuntimeError(f"{' '.join(command)} failed: {complaint}")
    return done.stdout
