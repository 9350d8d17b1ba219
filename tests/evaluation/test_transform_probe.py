"""Transformation probes: honest labels, and networks that see what is there and nothing else."""

import pytest
import torch
from small import pictures
from torch import nn

from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.transform_probe import (
    PROBES,
    ProbeSettings,
    transform_probe,
    transformed,
)


class Statistics(nn.Module):
    """Hand-made features that show colour, direction, noise and edges."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        across, down = x.diff(dim=3), x.diff(dim=2)
        halves = [part.mean(dim=(2, 3)) for half in (2, 3) for part in x.chunk(2, dim=half)]
        spread = [(x - x.mean(dim=1, keepdim=True)).abs().mean(dim=(2, 3))]
        edges = [d.abs().mean(dim=(2, 3)) for d in (across, down)]
        return torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3)), *halves, *spread, *edges], dim=1)


class Nothing(nn.Module):
    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(h[:, :2])


def shaded(n: int) -> torch.Tensor:
    """Pictures that are brighter on top, so that a rotation can be seen."""
    ramp = torch.linspace(200, 0, 16).view(1, 1, 16, 1)
    return (pictures(n).float() / 255 * 55 + ramp).to(torch.uint8)


@pytest.mark.parametrize("name", PROBES)
def test_answers_are_as_frequent_as_chance_says(name: str) -> None:
    _, answers = transformed(PROBES[name], pictures(48).repeat(60, 1, 1, 1), "any")
    share = torch.bincount(answers).double() / len(answers)
    assert 100 * float(share.max()) == pytest.approx(PROBES[name].chance, abs=3)


def test_answers_are_what_was_done() -> None:
    images, answers = transformed(PROBES["probe_color"], pictures(48).repeat(4, 1, 1, 1), "any")
    gray = (images[:, 0] - images[:, 1]).abs().amax(dim=(1, 2)) < 1e-6
    assert bool(gray[answers == 1].all())
    assert float(gray[answers == 0].double().mean()) < 0.2  # strong jitter can gray an image too


@pytest.mark.parametrize("name", PROBES)
def test_images_are_jittered_as_in_pretraining(name: str) -> None:
    """Four of five images of one colour change it; crops and turns would leave it.

    Fewer of those that are not gray: strong jitter makes some images black or white.
    """
    colour = torch.tensor([60, 120, 180], dtype=torch.uint8).view(1, 3, 1, 1)
    images, answers = transformed(PROBES[name], colour.expand(1000, 3, 16, 16), "any")
    if name != "probe_rotation":
        images = images[answers == 0]  # neither gray nor noisy nor filtered by what is asked for
    changed = (images - colour / 255).abs().amax(dim=(1, 2, 3)) > 1e-3
    gray = (images[:, 0] - images[:, 1]).abs().amax(dim=(1, 2)) < 1e-6
    assert 0.65 < float(changed[~gray].double().mean()) < 0.85


def test_every_call_draws_the_same_and_every_purpose_others() -> None:
    first, again, other = (
        transformed(PROBES["probe_sobel"], pictures(48), purpose)[0] for purpose in ("a", "a", "b")
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize(
    ("name", "at_least"),
    [("probe_color", 88), ("probe_rotation", 50), ("probe_noise", 65), ("probe_sobel", 85)],
)
def test_features_that_show_it_tell_it_and_empty_ones_do_not(name: str, at_least: float) -> None:
    fit, val = shaded(48).repeat(25, 1, 1, 1), shaded(48).repeat(10, 1, 1, 1)
    found = transform_probe(
        name, Frozen(Statistics(), Nothing()), fit, val, ProbeSettings()
    ).metrics
    assert found["h_val_top1"] > at_least
    assert found["z_val_top1"] < found["chance"] + 8
