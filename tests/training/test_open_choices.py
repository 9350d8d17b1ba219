"""What the paper leaves open reaches the objects that are built; the default changes nothing."""

import pytest
import torch
from projections import random_pair
from small import pictures, small_recipe
from torch import Tensor

from simclr_lab.training.build import build_loss, build_model, build_views

LABELS = torch.zeros(16, dtype=torch.int64)
SECOND = {"augment__operators": ["rotate"], "augment__branches": "second"}


def views(**changes) -> Tensor:
    return torch.cat(build_views(small_recipe(**changes))(pictures(), torch.arange(48), 0))


VIEWS = {
    "crop": ({}, "torchvision", "tf"),
    "brightness": ({}, "multiplicative", "additive"),
    "base_flip": (SECOND, False, True),
    "sobel_scaling": ({"augment__operators": ["sobel"]}, "fixed", "min_max"),
    "cutout_position": ({"augment__operators": ["cutout"]}, "anywhere", "inside"),
    "noise_law": ({"augment__operators": ["noise"]}, "constant", "uniform"),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str) -> None:
    around, other, default = VIEWS[name]
    plain = views(**around)
    assert torch.equal(views(**around, **{f"augment__{name}": default}), plain)
    assert not torch.allclose(views(**around, **{f"augment__{name}": other}), plain)


@pytest.mark.parametrize("name", ["nt_logistic", "margin_triplet"])
def test_losses(name: str) -> None:
    def loss(**changes) -> float:
        z_a, z_b = random_pair(16, 8)
        recipe = small_recipe(loss__name=name, **changes)
        return float(build_loss(recipe)(z_a, -z_b, LABELS))  # far positives: few candidates

    assert loss(loss__reduction="sum") > 2 * loss()
    hard = {"loss__semi_hard": True}
    assert loss(**hard, loss__without_candidate="easiest") != loss(**hard)
    assert loss(loss__reduction="mean", loss__without_candidate="skip") == loss()


def test_encoders() -> None:
    paper, torchvision = (
        build_model(small_recipe(encoder__variant=v), 0).encoder for v in ("paper", "torchvision")
    )
    assert "layer1.0.downsample.0.weight" in paper.state_dict()
    assert "layer1.0.downsample.0.weight" not in torchvision.state_dict()
