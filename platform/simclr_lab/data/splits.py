"""Fixed splits and subsets: stratified, independent of every cell's seed (design: test is apart).

Indices count rows of the dataset's training images; all are int64.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

VALIDATION_IMAGES = 5_000
TARGET_MIN_IMAGES = 10
"""A tenth of a target's training images is its validation split."""

_SPLIT_SEED = 20_200_213
"""Fixed once and for all: the day the paper appeared."""


def _balanced_order(labels: NDArray[np.int64]) -> Indices:
    """All rows, shuffled, such that every prefix holds each class in its proportion.

    The k-th of a class's m rows, in a fixed shuffle, sits at fraction (k + u) / m, u drawn per
    class.
    """
    generator = np.random.Generator(np.random.PCG64(_SPLIT_SEED))
    place = np.empty(len(labels), np.float64)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        place[rows] = (np.arange(len(rows)) + generator.random()) / len(rows)
    return np.argsort(place, kind="stable").astype(np.int64)


def validation_split(
    labels: NDArray[np.int64], validation_images: int = VALIDATION_IMAGES
) -> tuple[Indices, Indices]:
    """(train, validation): validation takes ``validation_images`` rows, balanced over classes."""
    order = _balanced_order(labels)
    cut = len(labels) - validation_images
    return order[:cut], order[cut:]


def target_splits(labels: NDArray[np.int64]) -> tuple[Indices, Indices]:
    """(train, validation) of a dataset that is transferred to (App. B.8): a tenth validates.

    Balanced over classes, and a class of one image stays in train; a fixed shuffle for several
    labels an image, (n, classes). CIFAR-10's are its ``validation_split``. Raises ValueError for
    fewer than ten images.
    """
    if len(labels) < TARGET_MIN_IMAGES:
        raise ValueError(f"got {len(labels)} images; a target needs at least {TARGET_MIN_IMAGES}")
    if labels.ndim == 1:
        order = _balanced_order(labels)
        alone = np.bincount(labels)[labels[order]] == 1
        order = np.concatenate([order[alone], order[~alone]])
    else:
        order = np.random.Generator(np.random.PCG64(_SPLIT_SEED)).permutation(len(labels))
    cut = len(labels) - len(labels) // 10
    return order[:cut], order[cut:]


def pretraining_indices(
    labels: NDArray[np.int64],
    *,
    split: Literal["train", "train+val"],
    images: int | Literal["all"],
) -> Indices:
    """Rows that pretraining sees; a smaller number is a prefix of a larger one.

    Raises ValueError for more images than the split has.
    """
    train, validation = validation_split(labels)
    rows = train if split == "train" else np.concatenate([train, validation])
    return _first(rows, images, f"data.pretrain_split {split!r}")


def fit_indices(labels: NDArray[np.int64], *, images: int | Literal["all"]) -> Indices:
    """Labelled training rows on which evaluations fit; never validation rows."""
    return _first(validation_split(labels)[0], images, "the training split")


def _first(rows: Indices, images: int | Literal["all"], what: str) -> Indices:
    if images == "all":
        return rows
    if not 0 < images <= len(rows):
        raise ValueError(f"got {images} images; allowed: 1 to {len(rows)}, the rows of {what}")
    return rows[:images]
