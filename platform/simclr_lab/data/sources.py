"""Named datasets: decoded, verified, the same arrays on every machine."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simclr_lab.data import cifar10

DATASETS = ("cifar10",)


@dataclass(frozen=True)
class Dataset:
    """Images uint8 (n, 3, h, w) and labels int64 (n,); validation is carved from train."""

    name: str
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    digest: str


def dataset_digest(name: str) -> str:
    """Digest of a dataset's decoded arrays, known without loading them. KeyError if unknown."""
    digests = {"cifar10": cifar10.DIGESTS}[name]
    return hashlib.sha256("".join(digests[key] for key in sorted(digests)).encode()).hexdigest()


def load_dataset(name: str, *, cache: Path | None = None, offline: Path | None = None) -> Dataset:
    """The dataset from the cache, fetched into it if need be.

    Raises KeyError for an unknown name and DataUnavailable where no source works.
    """
    digest = dataset_digest(name)
    arrays = cifar10.cifar10_arrays(cache, offline)
    return Dataset(
        name=name,
        train_images=_channels_first(arrays["train_images"]),
        train_labels=arrays["train_labels"].astype(np.int64),
        test_images=_channels_first(arrays["test_images"]),
        test_labels=arrays["test_labels"].astype(np.int64),
        classes=cifar10.CLASSES,
        digest=digest,
    )


def verify_cached(name: str, cache: Path | None = None) -> None:
    """Raises DataUnavailable unless the cache holds exactly the pinned arrays."""
    dataset_digest(name)
    cifar10.verify_cifar10(cache)


def _channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
