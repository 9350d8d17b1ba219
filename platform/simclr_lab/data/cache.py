"""Decoded datasets in the user's cache folder: whole and verified, or not there."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.integer[Any]]]

NAMES = ("train_images", "train_labels", "test_images", "test_labels")
"""The arrays of a dataset."""


def cache_folder() -> Path:
    """``SIMCLR_LAB_CACHE``, or ``~/.cache/simclr-lab``."""
    given = os.environ.get("SIMCLR_LAB_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "simclr-lab"


def digests_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """SHA-256 of each array's values in C order."""
    return {
        name: hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
        for name, array in arrays.items()
    }


def mismatches(arrays: Mapping[str, NDArray[Any]], digests: Mapping[str, str]) -> list[str]:
    """Names of arrays that are missing or whose SHA-256 differs from the pinned one."""
    found = digests_of({name: arrays[name] for name in digests if name in arrays})
    return [name for name, digest in digests.items() if found.get(name) != digest]


def read(path: Path, digests: Mapping[str, str] | None) -> Arrays | None:
    """The arrays of a cached file, or None where it is missing, torn or altered.

    Without ``digests`` those of the record beside the file hold.
    """
    if digests is None:
        recorded = (read_record(path) or {}).get("digests")
        if not isinstance(recorded, dict) or set(recorded) != set(NAMES):
            return None
        digests = recorded
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in digests}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return None if mismatches(arrays, digests) else arrays


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """All of the file or nothing of it: written beside, synced, then renamed."""
    _whole(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def read_record(path: Path) -> dict[str, Any] | None:
    """The record beside a cached file, or None where it is missing, torn or no record."""
    try:
        record = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write ``record`` as JSON beside the cached file ``path``."""
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    _whole(path.with_suffix(".json"), lambda file: file.write(text.encode()))


def _whole(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
