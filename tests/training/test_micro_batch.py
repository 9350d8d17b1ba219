"""Micro-batches change nothing: losses, gradients, weights, running statistics of the whole."""

import pytest
import torch
import workers
from distributed import run_workers
from small import pictures, small_recipe
from torch import Tensor, nn

from simclr_lab.contrastive.losses import nt_xent
from simclr_lab.contrastive.micro_batch import backward_in_parts
from simclr_lab.fields import FieldError
from simclr_lab.identity import cell_key

BASE = {
    "compute__precision": "float64",
    "optimizer__name": "sgd",
    "optimizer__learning_rate": 0.05,
    "optimizer__learning_rate_rule": "none",
    "optimizer__schedule": "constant",
    "optimizer__warmup": 0.0,
    "batch_norm__group_images": 4,
    "augment__blur_probability": 0.5,
    "data__image_size": 32,  # at 16 pixels the kernel is one pixel wide
}
VARIANTS = {
    "nt_xent": {},
    "margin_triplet": {"loss__name": "margin_triplet", "loss__semi_hard": True},
    "deep head": {"projection__depth": 4},
    "lars": {"optimizer__name": "lars", "optimizer__learning_rate": 0.5},
}


def case(**changes) -> dict:
    recipe = small_recipe(**BASE | changes)
    return {"recipe": recipe, "seed": 3, "images": pictures(size=32), "steps": 5}


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def assert_equal_runs(found: dict, expected: dict) -> None:
    assert relative(found["gradients"][0], expected["gradients"][0]) < 1e-9
    for part in ("losses", "gradients", "weights", "buffers"):
        assert relative(found[part], expected[part]) < 1e-7, part


@pytest.mark.parametrize("micro", [4, 8])
@pytest.mark.parametrize("name", VARIANTS)
def test_parts_give_the_whole_batchs_run(name: str, micro: int) -> None:
    whole = workers.pretrain(**case(**VARIANTS[name]))
    parts = workers.pretrain(**case(compute__micro_batch_size=micro, **VARIANTS[name]))
    assert relative(whole["weights"], whole["before"]) > 1e-2
    assert_equal_runs(parts, whole)


def test_also_on_two_workers() -> None:
    whole = workers.pretrain(**case())
    for rank in run_workers(workers.pretrain_many, 2, [case(compute__micro_batch_size=4)]):
        assert_equal_runs(rank[0], whole)


def test_gradients_of_parts_alone_would_be_wrong() -> None:
    """The comparison has teeth: eight images with their own negatives are another loss."""
    whole = workers.pretrain(**case())
    small = workers.pretrain(**case(batch_size=8))
    assert relative(small["gradients"][0], whole["gradients"][0]) > 0.05


def test_in_half_precision_and_channels_last() -> None:
    changes = {"compute__precision": "bfloat16", "compute__channels_last": True}
    whole = workers.pretrain(**case(**changes) | {"steps": 1})
    parts = workers.pretrain(**case(compute__micro_batch_size=4, **changes) | {"steps": 1})
    assert relative(parts["losses"], whole["losses"]) < 5e-3
    assert relative(parts["gradients"], whole["gradients"]) < 5e-2


def test_the_key_does_not_know_how_much_memory_there_was() -> None:
    recipes = [small_recipe(**BASE), small_recipe(compute__micro_batch_size=4, **BASE)]
    assert len({cell_key(recipe, 0, "d") for recipe in recipes}) == 1


@pytest.mark.parametrize(("micro", "group"), [(3, 1), (4, "whole"), (4, 8)])
def test_parts_that_cut_a_group_or_the_batch_are_refused(micro: int, group) -> None:
    with pytest.raises(FieldError, match=f"micro_batch_size is {micro}; allowed: divisors"):
        small_recipe(batch_norm__group_images=group, compute__micro_batch_size=micro)


def test_parts_of_unequal_size_are_refused() -> None:
    """Five images in parts of two: the last one's statistics would count twice."""
    model, views = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.rand(2, 5, 3, 2, 2)

    def loss(a: Tensor, b: Tensor) -> Tensor:
        return nt_xent(a, b, temperature=0.1)

    with pytest.raises(ValueError, match="part_images is 2; allowed: divisors of the 5 local"):
        backward_in_parts(model, *views, project=model, loss=loss, part_images=2)
    assert all(parameter.grad is None for parameter in model.parameters())
