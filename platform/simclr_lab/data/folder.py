"""Image folders as datasets, named by their content.

A folder is decoded once, to images of one size, and kept in the cache as ``<name>-<digest>``, the
digest's first eight digits. It is of the decoded pixels, the labels, the classes and the metric:
the same name means the same pixels on every machine, and a changed folder has another name.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from simclr_lab.data.cache import (
    Arrays,
    cache_folder,
    digests_of,
    read,
    read_record,
    write,
    write_record,
)
from simclr_lab.data.folder_listing import SPLITS, FolderError, list_folder
from simclr_lab.data.source import METRICS, Metric, Source
from simclr_lab.data.unavailable import DataUnavailable

MIN_SIZE, MAX_SIZE = 8, 1024
_PLACE = "folders"
_NAME = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")
_REGISTERED = re.compile(rf"({_NAME.pattern})-[0-9a-f]{{8}}")


def register_folder(
    name: str, folder: Path, *, image_size: int, metric: Metric, cache: Path | None = None
) -> str:
    """Decode a folder into the cache; returns the name under which it is a dataset.

    Images become RGB, the shorter side ``image_size`` pixels (bicubic, antialiased), then the
    central square (App. B.8). Registering the same content again changes nothing. Raises
    FolderError for a wrong name, size or metric, a wrong layout (``folder_listing``) and an image
    that cannot be read.
    """
    _check(name, image_size, metric)
    listing = list_folder(folder, metric)
    arrays: Arrays = {}
    for split in SPLITS:
        arrays[f"{split}_images"] = _pictures(listing.files[split], image_size)
        arrays[f"{split}_labels"] = listing.labels[split]
    record = {
        "classes": list(listing.classes),
        "digests": digests_of(arrays),
        "image_size": image_size,
        "images": {split: len(listing.files[split]) for split in SPLITS},
        "metric": metric,
    }
    registered_name = f"{name}-{_digest(record)[:8]}"
    path = _path(cache or cache_folder(), registered_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if read(path, digests_of(arrays)) is None:
            write(path, arrays)
        if read_record(path) != record:
            write_record(path, record)
    return registered_name


def registered_names(cache: Path) -> tuple[str, ...]:
    """Names of all registered folders, sorted."""
    records = (cache / _PLACE).glob("*.json")
    return tuple(sorted(path.stem for path in records if _REGISTERED.fullmatch(path.stem)))


def registered(name: str, cache: Path) -> Source:
    """A registered folder's source.

    Raises KeyError where no folder has this name, DataUnavailable where its record is damaged.
    """
    if name not in registered_names(cache):
        raise KeyError(name)
    path = _path(cache, name)
    remedy = f"simclr-lab data register {name.rpartition('-')[0]} FOLDER, as before"
    record = read_record(path)
    if record is None or _digest(record)[:8] != name[-8:]:
        raise DataUnavailable(name, {str(path.with_suffix(".json")): f"damaged; run: {remedy}"})
    digests: dict[str, str] = record["digests"]

    def arrays(cache: Path | None, offline: Path | None) -> Arrays:
        file = _path(cache or cache_folder(), name)
        found = read(file, digests)
        if found is None:
            state = "damaged" if file.exists() else "missing"
            raise DataUnavailable(name, {str(file): f"{state}; run: {remedy}"})
        return found

    return Source(
        name=name,
        file=f"{_PLACE}/{path.name}",
        classes=tuple(record["classes"]),
        digest=_digest(record),
        train_images=record["images"]["train"],
        test_images=record["images"]["test"],
        height=record["image_size"],
        width=record["image_size"],
        arrays=arrays,
        cached=lambda cache: read(_path(cache, name), digests),
        remedy=remedy,
        metric=record["metric"],
    )


def _check(name: str, image_size: int, metric: str) -> None:
    if not _NAME.fullmatch(name):
        raise FolderError(
            f"name is {name!r}; allowed: small letters and digits, with underscores between them"
        )
    if not MIN_SIZE <= image_size <= MAX_SIZE:
        raise FolderError(f"size is {image_size}; allowed: {MIN_SIZE} to {MAX_SIZE} pixels")
    if metric not in METRICS:
        raise FolderError(f"metric is {metric!r}; allowed: {', '.join(METRICS)}")


def _path(cache: Path, name: str) -> Path:
    return cache / _PLACE / f"{name}.npz"


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _pictures(files: Sequence[Path], size: int) -> NDArray[np.uint8]:
    """All files' pictures: uint8 (n, size, size, 3)."""
    pictures = np.empty((len(files), size, size, 3), np.uint8)
    shown = track(files, "pictures", console=Console(stderr=True), transient=True)
    for row, file in enumerate(shown):
        pictures[row] = _picture(file, size)
    return pictures


def _picture(file: Path, size: int) -> NDArray[np.uint8]:
    from torchvision.transforms.functional import InterpolationMode, center_crop, resize

    try:
        with Image.open(file) as image:
            rgb = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FolderError(f"{file} cannot be read as an image: {error}") from error
    whole = resize(rgb, [size], InterpolationMode.BICUBIC, antialias=True)
    return np.asarray(center_crop(whole, [size]))
