"""Decoded datasets in the user's cache folder: whole and verified, or not there."""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.uint8]]


def cache_folder() -> Path:
    """``SIMCLR_LAB_CACHE``, or ``~/.cache/simclr-lab``."""
    given = os.environ.get("SIMCLR_LAB_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "simclr-lab"


def mismatches(arrays: Mapping[str, NDArray[np.uint8]], digests: Mapping[str, str]) -> list[str]:
    """Names of arrays that are missing or whose SHA-256 differs from the pinned one."""
    return [
        name
        for name, digest in digests.items()
        if name not in arrays
        or hashlib.sha256(np.ascontiguousarray(arrays[name]).data).hexdigest() != digest
    ]


def read(path: Path, digests: Mapping[str, str]) -> Arrays | None:
    """The arrays of a cached file, or None where it is missing, torn or altered."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in digests}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return None if mismatches(arrays, digests) else arrays


def write(path: Path, arrays: Mapping[str, NDArray[np.uint8]]) -> None:
    """All of the file or nothing of it: written beside, synced, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
