"""One worker equals two: augmentation, global batch norm, global negatives, averaged gradients."""

import pytest
import torch
import workers
from distributed import run_workers
from small import pictures, small_recipe
from torch import Tensor

STEPS = 6

EXACT = {
    "compute__precision": "float64",
    "optimizer__name": "sgd",
    "optimizer__learning_rate": 0.05,
    "optimizer__learning_rate_rule": "none",
    "optimizer__schedule": "constant",
    "optimizer__warmup": 0.0,
    "augment__blur_probability": 0.5,
    "data__image_size": 32,  # at 16 pixels the kernel is one pixel wide
}


def case(steps: int = STEPS, **changes) -> dict:
    recipe = small_recipe(**changes)
    images = pictures(size=recipe.data.image_size)
    return {"recipe": recipe, "seed": 3, "images": images, "steps": steps}


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def runs() -> dict[str, tuple[dict, list[dict]]]:
    """Name -> (one worker's run, each of two workers' run)."""
    cases = {
        "exact": case(**EXACT),
        "groups": case(batch_norm__group_images=4, **EXACT),
        "lars": case(compute__precision="float64", optimizer__warmup=0.0),
        "supervised": case(loss__name="cross_entropy", **EXACT),
        "float32": case(steps=1, **EXACT | {"compute__precision": "float32"}),
    }
    alone = workers.pretrain_many(list(cases.values()))
    together = run_workers(workers.pretrain_many, 2, list(cases.values()))
    return {
        name: (alone[index], [rank[index] for rank in together]) for index, name in enumerate(cases)
    }


@pytest.mark.parametrize("name", ["exact", "groups", "lars", "supervised"])
def test_two_workers_equal_one_in_float64(runs, name: str) -> None:
    one, two = runs[name]
    assert not one["wrapped"]
    for rank in two:
        assert rank["wrapped"]
        for part in ("losses", "gradients", "weights", "buffers"):
            assert relative(rank[part], one[part]) <= 1e-9, part


def test_the_weights_moved(runs) -> None:
    """Equal weights prove nothing while they still are where they began."""
    one, _ = runs["exact"]
    assert one["losses"].shape[0] >= 5
    assert relative(one["weights"], one["before"]) > 1e-2
    assert all(float(gradient.norm()) > 0 for gradient in one["gradients"])


def test_one_step_in_float32(runs) -> None:
    one, two = runs["float32"]
    for rank in two:
        for part in ("losses", "gradients", "weights"):
            assert relative(rank[part], one[part]) <= 1e-5, part


def test_both_workers_hold_the_same_bits(runs) -> None:
    for _, (first, second) in runs.values():
        assert torch.equal(first["weights"], second["weights"])
        assert torch.equal(first["buffers"], second["buffers"])


def test_the_scope_of_batch_norm_is_not_without_effect(runs) -> None:
    assert relative(runs["groups"][0]["weights"], runs["exact"][0]["weights"]) > 1e-3


def test_neither_is_the_blur(runs) -> None:
    plain = workers.pretrain(**case(steps=1, **EXACT | {"augment__blur_probability": 0.0}))
    assert relative(runs["exact"][0]["losses"][0], plain["losses"][0]) > 1e-3
