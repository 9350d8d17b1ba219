"""Named arrays as bytes: the same arrays give the same bytes."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


def pack(arrays: Arrays) -> bytes:
    """An npz archive without pickles, its members sorted by name."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **dict(sorted(arrays.items())))
    return file.getvalue()


def unpack(content: bytes) -> dict[str, NDArray[Any]]:
    """The inverse of ``pack``."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return dict(archive)
