"""Splits: fixed once and for all, balanced, nested, never mixed."""

import hashlib

import numpy as np
import pytest

from simclr_lab.data.splits import (
    fit_indices,
    pretraining_indices,
    target_splits,
    validation_split,
)

PINNED_VALIDATION = "ffb041dff604c11aedbcdd5180b8d26c9e6ab225fbe9f779d834c71d22ce0d83"


def labels(n: int = 50_000) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.arange(n) % 10).astype(np.int64)


def test_train_and_validation_share_nothing_and_leave_nothing() -> None:
    train, validation = validation_split(labels())
    assert len(train) == 45_000
    assert len(validation) == 5_000
    assert len(np.union1d(train, validation)) == 50_000


def test_both_parts_hold_every_class_evenly() -> None:
    for part, share in zip(validation_split(labels()), (4_500, 500), strict=True):
        counts = np.bincount(labels()[part])
        assert abs(counts - share).max() <= 1


@pytest.mark.parametrize("images", [1000, 6000, 20_000, 44_999])
def test_subsets_are_balanced_prefixes(images: int) -> None:
    whole = pretraining_indices(labels(), split="train", images="all")
    part = pretraining_indices(labels(), split="train", images=images)
    assert np.array_equal(part, whole[:images])
    counts = np.bincount(labels()[part], minlength=10)
    assert abs(counts - images / 10).max() <= 1


def test_train_val_ends_with_the_validation_images() -> None:
    _, validation = validation_split(labels())
    both = pretraining_indices(labels(), split="train+val", images="all")
    assert np.array_equal(both[-5_000:], validation)


def test_evaluations_never_fit_on_validation() -> None:
    _, validation = validation_split(labels())
    assert len(np.intersect1d(fit_indices(labels(), images="all"), validation)) == 0


@pytest.mark.parametrize("images", [0, 45_001])
def test_more_images_than_there_are_is_refused(images: int) -> None:
    with pytest.raises(ValueError, match="allowed: 1 to 45000"):
        pretraining_indices(labels(), split="train", images=images)


@pytest.mark.network
def test_the_validation_images_of_cifar10_never_change(cifar10) -> None:
    _, validation = validation_split(cifar10.train_labels)
    assert hashlib.sha256(validation.tobytes()).hexdigest() == PINNED_VALIDATION


@pytest.mark.parametrize("per_class", [10, 30, 55])
def test_a_tenth_of_every_class_of_a_target_validates(per_class: int) -> None:
    given = np.random.default_rng(1).permutation(np.repeat(np.arange(12), per_class))
    train, validation = target_splits(given)
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(given)))
    assert len(validation) == len(given) // 10
    assert abs(np.bincount(given[validation], minlength=12) - per_class / 10).max() < 1


def test_classes_of_one_image_stay_in_train() -> None:
    given = np.concatenate([np.zeros(60, np.int64), np.arange(1, 41)])
    train, validation = target_splits(given)
    assert set(given[train]) == set(range(41))
    assert np.bincount(given[validation]).tolist() == [10]


def test_targets_with_several_labels_an_image_are_shuffled_once_and_for_all() -> None:
    first = np.random.default_rng(0).integers(0, 2, (100, 4))
    train, validation = target_splits(first)
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(100))
    assert len(validation) == 10
    assert not np.array_equal(train, np.sort(train))
    assert np.array_equal(target_splits(1 - first)[1], validation)


def test_the_splits_of_a_target_of_cifar10s_size_are_those_of_pretraining() -> None:
    for mine, theirs in zip(target_splits(labels()), validation_split(labels()), strict=True):
        assert np.array_equal(mine, theirs)


def test_a_target_too_small_to_validate_is_refused() -> None:
    with pytest.raises(ValueError, match="got 9 images; a target needs at least 10"):
        target_splits(np.arange(9) % 2)
