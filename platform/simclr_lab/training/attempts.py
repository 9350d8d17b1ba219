"""Attempts of a cell on disk: ``<storage>/cells/<key>/<attempt>/``. Names only, no torch."""

import re
from collections.abc import Iterator
from pathlib import Path

FINAL = "final.pt"
WRITING = ".writing-"
"""Start of the name of a file that is not whole yet."""

CHECKPOINT = re.compile(r"step-(\d{9})\.pt")


def attempt_folder(storage: Path, key: str, attempt: int) -> Path:
    """Where an attempt's files are."""
    return storage / "cells" / key / str(attempt)


def stop_file(storage: Path, key: str) -> Path:
    """While it is there, a group leaves at the end of its epoch; every node reaches it."""
    return storage / "scratch" / f"{key}.stop"


def attempts(storage: Path, key: str) -> list[int]:
    """The attempts of a cell that have a folder, in order."""
    folder = storage / "cells" / key
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def newest_attempt(storage: Path, key: str) -> int:
    """The highest attempt that has a folder; 0 where there is none."""
    return max(attempts(storage, key), default=0)


def stored_cells(storage: Path) -> Iterator[tuple[str, int]]:
    """(key, attempt) of every attempt that has a folder."""
    cells = storage / "cells"
    for folder in sorted(cells.iterdir()) if cells.is_dir() else ():
        yield from ((folder.name, attempt) for attempt in attempts(storage, folder.name))


def leftovers(folder: Path) -> list[Path]:
    """Files that a kill left in an attempt's folder: torn ones, and checkpoints beside the end."""
    files = sorted(folder.iterdir())
    finished = any(path.name == FINAL for path in files)
    return [
        path
        for path in files
        if path.name.startswith(WRITING) or (finished and CHECKPOINT.fullmatch(path.name))
    ]


def size(path: Path) -> int:
    """Bytes of a file, or of everything in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
