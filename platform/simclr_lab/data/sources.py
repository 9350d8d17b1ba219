"""Named datasets: decoded, verified, the same arrays on every machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simclr_lab.data import cifar10, cifar100, fashion_mnist
from simclr_lab.data.cache import cache_folder
from simclr_lab.data.folder import registered, registered_names
from simclr_lab.data.source import Metric, Source
from simclr_lab.data.unavailable import DataUnavailable

BUILT_IN = {module.SOURCE.name: module.SOURCE for module in (cifar10, cifar100, fashion_mnist)}
DATASETS = tuple(BUILT_IN)


@dataclass(frozen=True)
class Dataset:
    """Images uint8 (n, 3, h, w) and labels int64 (n,); validation is carved from train.

    Under the metric ``map11`` an image has several labels: int64 0 or 1, (n, classes).
    """

    name: str
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    digest: str
    metric: Metric = "top1"


def known_datasets(cache: Path | None = None) -> tuple[str, ...]:
    """Built-in names, then those of registered image folders."""
    return DATASETS + registered_names(cache or cache_folder())


def find_source(name: str, cache: Path | None = None) -> Source:
    """What is known of a dataset without loading it.

    Raises KeyError for an unknown name, DataUnavailable for a registered one with a damaged record.
    """
    return BUILT_IN.get(name) or registered(name, cache or cache_folder())


def dataset_digest(name: str, cache: Path | None = None) -> str:
    """Digest of a dataset's content, known without loading it. Raises as ``find_source``."""
    return find_source(name, cache).digest


def load_dataset(name: str, *, cache: Path | None = None, offline: Path | None = None) -> Dataset:
    """The dataset from the cache, fetched into it if need be.

    Raises KeyError for an unknown name and DataUnavailable where no source works.
    """
    source = find_source(name, cache)
    arrays = source.arrays(cache, offline)
    return Dataset(
        name=name,
        train_images=_channels_first(arrays["train_images"]),
        train_labels=arrays["train_labels"].astype(np.int64),
        test_images=_channels_first(arrays["test_images"]),
        test_labels=arrays["test_labels"].astype(np.int64),
        classes=source.classes,
        digest=source.digest,
        metric=source.metric,
    )


def verify_cached(name: str, cache: Path | None = None) -> None:
    """Raises DataUnavailable unless the cache holds exactly the arrays of the dataset's digests."""
    folder = cache or cache_folder()
    source = find_source(name, folder)
    if source.cached(folder) is None:
        path = folder / source.file
        state = "damaged" if path.exists() else "missing"
        raise DataUnavailable(name, {str(path): f"{state}; run: {source.remedy}"})


def _channels_first(images: NDArray[Any]) -> NDArray[np.uint8]:
    """(n, h, w, 3), or gray (n, h, w) repeated, to (n, 3, h, w)."""
    if images.ndim == 3:
        return np.repeat(images[:, None], 3, axis=1)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
