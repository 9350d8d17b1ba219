"""Fixed class-balanced fractions of the labels, for fine-tuning on few (Sec. 6, App. B.5).

Of every class the same share of its training rows, never validation rows; 1% is part of 10%.
CIFAR-10's lie beside this module as ``subsets/*.txt``, one row of the 50,000 training images a
line, sorted, as the paper's ImageNet lists are published; other datasets' follow the same rule.
"""

from importlib.resources import files
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simclr_lab.data.splits import Indices, target_splits

Percent = Literal[1, 10]
LISTED = ("cifar10",)


def label_fraction_indices(
    dataset_name: str, labels: NDArray[np.int64], percent: Percent
) -> Indices:
    """Sorted rows of a dataset's training images whose labels are given, int64.

    ``labels`` are all its training labels.
    """
    if dataset_name in LISTED:
        listed = files("simclr_lab.data") / "subsets" / f"{dataset_name}_{percent}pct.txt"
        return np.array(listed.read_text().split(), np.int64)
    return balanced_fraction(labels, percent)


def balanced_fraction(labels: NDArray[np.int64], percent: Percent) -> Indices:
    """The rule: the first ``percent`` of each class's rows, in the fixed order of the split.

    Rounded, at least one row a class. With several labels an image, (n, classes), the first
    ``percent`` of all rows.
    """
    train, _ = target_splits(labels)
    if labels.ndim == 1:
        groups = [train[labels[train] == label] for label in np.unique(labels[train])]
    else:
        groups = [train]
    kept = [rows[: max(1, round(len(rows) * percent / 100))] for rows in groups]
    return np.sort(np.concatenate(kept))
