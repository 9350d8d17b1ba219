"""Fixed fractions of the labels: balanced, nested, never validation rows, the committed lists."""

from importlib.resources import files

import numpy as np
import pytest

from simclr_lab.data.label_fractions import balanced_fraction, label_fraction_indices
from simclr_lab.data.splits import target_splits, validation_split


def labels() -> np.ndarray:
    return np.random.default_rng(2).permutation(np.repeat(np.arange(7), 200)).astype(np.int64)


def test_other_datasets_follow_the_rule() -> None:
    train, validation = target_splits(labels())
    one, ten = (label_fraction_indices("anything", labels(), percent) for percent in (1, 10))
    assert np.bincount(labels()[one]).tolist() == [2] * 7
    assert np.bincount(labels()[ten]).tolist() == [18] * 7
    assert set(one) < set(ten) < set(train)
    assert not set(ten) & set(validation)
    assert np.array_equal(ten, np.sort(ten))
    for label in range(7):  # the twin: walk the split, keep a class's first 2
        kept = [row for row in train if labels()[row] == label][:2]
        assert sorted(kept) == [row for row in one if labels()[row] == label]


def test_every_class_keeps_an_image() -> None:
    few = np.repeat(np.arange(5), 8)
    assert np.bincount(few[balanced_fraction(few, 1)]).tolist() == [1] * 5


def test_several_labels_an_image() -> None:
    many = np.random.default_rng(0).integers(0, 2, (1_000, 3))
    one, ten = balanced_fraction(many, 1), balanced_fraction(many, 10)
    assert (len(one), len(ten)) == (9, 90)
    assert set(one) < set(ten) < set(target_splits(many)[0])


@pytest.mark.parametrize(("percent", "images"), [(1, 450), (10, 4_500)])
def test_the_committed_lists_are_sorted_rows(percent, images: int) -> None:
    lines = (files("simclr_lab.data") / f"subsets/cifar10_{percent}pct.txt").read_text()
    rows = [int(line) for line in lines.splitlines()]
    assert len(rows) == images
    assert rows == sorted(set(rows))
    assert 0 <= rows[0] < rows[-1] < 50_000
    assert label_fraction_indices("cifar10", np.empty(0, np.int64), percent).tolist() == rows


@pytest.mark.network
def test_cifar10s_lists_are_what_the_rule_makes(cifar10) -> None:
    made = {percent: balanced_fraction(cifar10.train_labels, percent) for percent in (1, 10)}
    _, validation = validation_split(cifar10.train_labels)
    for percent, rows in made.items():
        listed = files("simclr_lab.data") / f"subsets/cifar10_{percent}pct.txt"
        assert listed.read_text() == "".join(f"{row}\n" for row in rows)
        assert np.bincount(cifar10.train_labels[rows]).tolist() == [4_500 * percent // 100] * 10
        assert not set(rows) & set(validation)
    assert set(made[1]) < set(made[10])
