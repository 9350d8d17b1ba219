"""The names and arguments of the science that other people's checks call."""

import inspect

import pytest
import torch

from simclr_lab.contrastive.augment import TwoViews, simclr_policy
from simclr_lab.contrastive.diagnostics import contrastive_accuracy, contrastive_entropy
from simclr_lab.contrastive.encoder import resnet
from simclr_lab.contrastive.lars import LARS
from simclr_lab.contrastive.losses import nt_xent
from simclr_lab.contrastive.projection import projection_head
from simclr_lab.contrastive.schedule import learning_rate_at, scaled_learning_rate
from simclr_lab.identity import cell_key
from simclr_lab.recipes import named_recipe
from simclr_lab.tracking.ledger import Ledger

PROMISED = [
    (nt_xent, ["z_a", "z_b"], ["temperature", "normalize", "negatives"]),
    (contrastive_accuracy, ["z_a", "z_b"], ["temperature", "normalize"]),
    (contrastive_entropy, ["z_a", "z_b"], ["temperature", "normalize"]),
    (scaled_learning_rate, ["base", "batch_size", "rule"], []),
    (learning_rate_at, ["step"], ["peak", "warmup_steps", "total_steps"]),
    (resnet, ["depth", "width", "stem", "variant"], []),
    (projection_head, ["in_dim", "out_dim", "depth"], []),
    (TwoViews, ["policy", "size"], []),
    (cell_key, ["recipe", "seed", "data_digest"], []),
    (named_recipe, ["name"], []),
    (Ledger, ["tracking_uri"], []),
    (Ledger.runs, ["self", "study", "scale"], []),
    (
        LARS,
        ["param_groups", "lr", "momentum", "weight_decay", "trust_coefficient", "nesterov"],
        ["classic_momentum"],
    ),
]


@pytest.mark.parametrize(("function", "first", "named"), PROMISED)
def test_arguments(function, first: list[str], named: list[str]) -> None:
    names = list(inspect.signature(function).parameters)
    assert names[: len(first)] == first
    assert set(named) <= set(names)


def test_views_need_no_more_than_images_and_seeds() -> None:
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    a, b = TwoViews(simclr_policy(), 32)(images, torch.arange(4))
    assert a.shape == b.shape == (4, 3, 32, 32)


def test_defaults_are_the_papers() -> None:
    assert scaled_learning_rate(0.3, 4096) == pytest.approx(4.8)
    assert projection_head(16)(torch.rand(4, 16)).shape == (4, 128)
    assert inspect.signature(LARS).parameters["trust_coefficient"].default == 0.001
