"""How large cells are: workers by rule, parts of a GPU, and what is refused."""

from fractions import Fraction

import pytest

from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.recipes import named_recipe
from simclr_lab.spaces.domain import Choice, Range
from simclr_lab.training.capacity import ClusterUnfit
from simclr_lab.tuning.sizes import (
    Sizing,
    check_share,
    fewest_workers,
    fits_together,
    fitting_workers,
    parse_sizing,
    smallest_share,
)

RECIPE = named_recipe("laptop")
GIB = 2**30


@pytest.mark.parametrize(("wanted", "got"), [(1, 1), (2, 2), (3, 2), (4, 4), (7, 4), (0, 1)])
def test_workers_divide_the_batch(wanted, got) -> None:
    assert fitting_workers(RECIPE, wanted) == got


def test_workers_hold_or_share_whole_groups_of_batch_norm() -> None:
    grouped = Recipe().with_fields({"batch_size": 96, "batch_norm.group_images": 32})
    assert fitting_workers(grouped, 2) == 1  # 48 images are one group and a half
    assert fitting_workers(grouped, 3) == 3
    assert fitting_workers(grouped, 6) == 6  # two workers share a group


def test_a_recipe_that_does_not_train_has_one_worker() -> None:
    pixels = RECIPE.with_fields({"encoder.kind": "raw_pixels"})
    assert fitting_workers(pixels, 4) == fewest_workers(pixels, 1) == 1


def slow_fewest(recipe: Recipe, images: int) -> int:
    """Try counts one after another, with the rules written out."""
    group, micro = recipe.batch_norm.group_images, recipe.compute.micro_batch_size
    for workers in range(1, recipe.batch_size + 1):
        if recipe.batch_size % workers:
            continue
        local = recipe.batch_size // workers
        in_groups = group == "whole" or local % group == 0 or group % local == 0
        in_micro = micro == "whole" or local % micro == 0
        if in_groups and in_micro and (local if micro == "whole" else micro) <= images:
            return workers
    raise AssertionError("no cut")


@pytest.mark.parametrize("images", [1, 7, 24, 32, 48, 96, 500])
@pytest.mark.parametrize("group", ["whole", 32])
def test_as_few_workers_as_hold_the_batch(images: int, group: str | int) -> None:
    recipe = Recipe().with_fields({"batch_size": 96, "batch_norm.group_images": group})
    assert fewest_workers(recipe, images) == slow_fewest(recipe, images)


def test_values_of_the_rule() -> None:
    recipe = Recipe().with_fields({"batch_size": 4096})
    assert fewest_workers(recipe, 4096) == 1
    assert fewest_workers(recipe, 512) == 8
    assert fewest_workers(recipe, 500) == 16  # 4096 is cut into powers of two only


def test_micro_batches_are_what_a_worker_holds() -> None:
    groups = {"batch_size": 4096, "batch_norm.group_images": 256}
    recipe = Recipe().with_fields(groups | {"compute.micro_batch_size": 256})
    assert fewest_workers(recipe, 256) == 1
    assert fewest_workers(recipe, 128) == 16  # the finest cut: one micro-batch each


def test_a_search_is_as_wide_as_its_largest_batch() -> None:
    auto = parse_sizing("auto", 64, None, "1")
    assert auto.widest(RECIPE, {"batch_size": Choice((64, 128, 512))}) == 8
    assert auto.widest(RECIPE, {"loss.temperature": Range(0.1, 1.0)}) == RECIPE.batch_size // 64
    assert Sizing(3).widest(RECIPE, {"batch_size": Choice((64, 96))}) == 3


def test_options_as_they_are_typed() -> None:
    assert parse_sizing("1", None, None, "1") == Sizing()
    assert parse_sizing("4", None, 2, "1.0") == Sizing(4, None, 2)
    assert parse_sizing("auto", 256, None, "1/3") == Sizing(None, 256, None, Fraction(1, 3))
    assert parse_sizing("1", None, None, "0.25").gpu_share == Fraction(1, 4)


@pytest.mark.parametrize(
    ("workers", "images", "fraction", "message"),
    [
        ("0", None, "1", "--workers: is '0'; allowed: a positive number or auto"),
        ("many", None, "1", "--workers: is 'many'"),
        ("auto", None, "1", "--workers: is auto.*--images-per-worker"),
        ("2", 64, "1", "--images-per-worker: is given; allowed: with --workers auto"),
        ("2", None, "0.5", "--gpu-fraction: is 0.5 with --workers 2.*NCCL"),
        ("1", None, "0.4", "--gpu-fraction: is '0.4'; allowed: 1, 0.5, 1/3"),
        ("1", None, "0", "--gpu-fraction"),
        ("1", None, "2", "--gpu-fraction"),
        ("1", None, "1/65", "up to 64"),
        ("1", None, "-0.5", "--gpu-fraction"),
        ("1", None, "1/0", "--gpu-fraction"),
        ("1", None, "nan", "--gpu-fraction"),
        ("1", None, "half", "--gpu-fraction"),
    ],
)
def test_what_is_refused(workers: str, images: int | None, fraction: str, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        parse_sizing(workers, images, None, fraction)


def test_cells_fit_a_device_together_or_they_do_not() -> None:
    assert fits_together(Fraction(1, 4), 4 * GIB, 16 * GIB)
    assert not fits_together(Fraction(1, 4), 4 * GIB + 1, 16 * GIB)
    assert smallest_share(4 * GIB + 1, 16 * GIB) == Fraction(1, 3)
    assert smallest_share(17 * GIB, 16 * GIB) is None
    for needed in range(1, 40):
        least = smallest_share(needed, 37)
        fitting = [n for n in range(1, 65) if n * needed <= 37]
        assert least == (Fraction(1, fitting[-1]) if fitting else None)


def test_a_part_whose_cells_do_not_fit_is_refused_with_the_smallest_that_does() -> None:
    memory = {"small": 2 * GIB, "large": 5 * GIB}
    check_share(Fraction(1, 3), memory, 16 * GIB)
    with pytest.raises(ClusterUnfit, match=r"1/4 puts 4 cells.*large needs 5120; .* 1/3 or more"):
        check_share(Fraction(1, 4), memory, 16 * GIB)
    with pytest.raises(ClusterUnfit, match="not even one cell fits"):
        check_share(Fraction(1), memory, 4 * GIB)
