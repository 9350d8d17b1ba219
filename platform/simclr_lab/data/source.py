"""What is known of a named dataset before it is loaded, and how its arrays are had."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simclr_lab.data.cache import Arrays

Metric = Literal["top1", "mean_per_class", "map11"]
"""How the paper scores a target (App. B.8): accuracy, mean accuracy per class, 11-point mAP."""

METRICS: tuple[Metric, ...] = ("top1", "mean_per_class", "map11")


@dataclass(frozen=True)
class Source:
    """A named dataset.

    ``arrays(cache, offline)`` gives train_images, train_labels, test_images and test_labels from
    the cache or fetched into it; images are uint8 (n, h, w, 3), or (n, h, w) where they are gray.
    It raises DataUnavailable with every source's reason. ``cached(cache)`` reads the cache alone:
    None unless the file is there, whole and unaltered. ``file`` is its path in the cache,
    ``remedy`` the command that brings it there.
    """

    name: str
    file: str
    classes: tuple[str, ...]
    digest: str
    train_images: int
    test_images: int
    height: int
    width: int
    arrays: Callable[[Path | None, Path | None], Arrays]
    cached: Callable[[Path], Arrays | None]
    remedy: str
    metric: Metric = "top1"


def joint_digest(digests: Mapping[str, str]) -> str:
    """One digest of several, in the order of their names."""
    return hashlib.sha256("".join(digests[key] for key in sorted(digests)).encode()).hexdigest()
