"""Colour operators against per-pixel twins in colorsys and against official values."""

import colorsys
import itertools

import pytest
import torch
from golden_values import golden
from torch import Tensor

from simclr_lab.contrastive.augment.color import (
    JITTERS,
    ORDERS,
    ColorDrop,
    ColorJitter,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    scale_brightness,
    to_gray,
)
from simclr_lab.contrastive.augment.operator import Draws

OFFICIAL = golden("image_ops")


def official_input() -> Tensor:
    return torch.tensor(OFFICIAL["input"]).view(4, 3).T[None]  # (1, 3, 4 pixels)


@pytest.mark.parametrize(
    ("name", "operator", "value"),
    [
        ("contrast_0.2", adjust_contrast, 0.2),
        ("saturation_0.2", adjust_saturation, 0.2),
        ("brightness_v1_+0.3", adjust_brightness, 0.3),
        ("brightness_v1_-0.3", adjust_brightness, -0.3),
        ("brightness_v2_x0.2", scale_brightness, 0.2),
        ("brightness_v2_x1.8", scale_brightness, 1.8),
        ("hue_-0.2", adjust_hue, -0.2),
        ("hue_0.1", adjust_hue, 0.1),
        ("hue_0.2", adjust_hue, 0.2),
    ],
)
def test_official_values(name, operator, value: float) -> None:
    expected = torch.tensor(OFFICIAL["ops"][name]).view(4, 3).T[None]
    assert torch.allclose(operator(official_input(), torch.tensor([value])), expected, atol=2e-6)


def test_official_gray() -> None:
    expected = torch.tensor(OFFICIAL["ops"]["grayscale_3ch"]).view(4, 3).T[None]
    assert torch.allclose(to_gray(official_input()), expected, atol=1e-6)


def pixels(n: int = 5, count: int = 40) -> Tensor:
    x = torch.rand(n, 3, count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[0, :, :8] = x[0, :1, :8]  # gray, black and white are where hue and saturation break
    x[1, :, 0], x[1, :, 1] = 0.0, 1.0
    return x


def slow_hsv(x: Tensor, turn: float, stretch: float) -> Tensor:
    """Through HSV and back, one pixel at a time, by the standard library."""
    out = torch.empty_like(x)
    for p in range(x.shape[1]):
        hue, saturation, value = colorsys.rgb_to_hsv(*x[:, p].tolist())
        saturation = min(max(saturation * stretch, 0.0), 1.0)
        out[:, p] = torch.tensor(colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value))
    return out


def test_saturation_and_hue_equal_their_twins() -> None:
    x = pixels()
    factors = torch.tensor([0.0, 0.3, 1.0, 1.7, 1.99], dtype=torch.float64)
    turns = torch.tensor([-0.2, -0.07, 0.0, 0.13, 0.2], dtype=torch.float64)
    for index in range(5):
        slow = slow_hsv(x[index], 0.0, float(factors[index]))
        assert torch.allclose(adjust_saturation(x, factors)[index], slow, atol=1e-12)
        slow = slow_hsv(x[index], float(turns[index]), 1.0)
        assert torch.allclose(adjust_hue(x, turns)[index], slow, atol=1e-12)


def test_contrast_equals_its_twin() -> None:
    x = pixels()
    factors = torch.linspace(0.1, 1.9, 5, dtype=torch.float64)
    for i, c in itertools.product(range(5), range(3)):
        channel = x[i, c].tolist()
        mean = sum(channel) / len(channel)
        slow = [(value - mean) * float(factors[i]) + mean for value in channel]
        assert adjust_contrast(x, factors)[i, c].tolist() == pytest.approx(slow)


def draws(n: int, start: int = 0) -> Draws:
    return Draws(torch.arange(start, start + n) * 104_729 + 1, None, 8)


def test_jitter_equals_one_image_one_operator_at_a_time() -> None:
    jitter = ColorJitter(1.0, 0.8)
    images = torch.rand(50, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted, order, amounts = jitter.parameters(draws(50))
    together = jitter(images, draws(50))
    for i in range(50):
        x = images[i : i + 1].flatten(2)
        for op in ORDERS[int(order[i])] if wanted[i] else ():
            x = JITTERS[op](x, amounts[op, i : i + 1].float()).clamp(0, 1)
        assert torch.allclose(together[i], x.view(3, 8, 8), atol=1e-6)


def test_jitter_draws_cover_their_ranges_and_orders() -> None:
    wanted, order, amounts = ColorJitter(0.5, 0.8).parameters(draws(20_000))
    assert float(wanted.double().mean()) == pytest.approx(0.8, abs=0.01)
    counts = torch.bincount(order, minlength=24) / 20_000
    assert float((counts - 1 / 24).abs().max()) < 0.006
    for index, (low, high) in enumerate([(-0.4, 0.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1)]):
        drawn = amounts[index]
        assert low <= float(drawn.min()) < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < float(drawn.max()) <= high
        assert float(drawn.mean()) == pytest.approx((low + high) / 2, abs=0.01)
    assert float(torch.corrcoef(amounts).fill_diagonal_(0).abs().max()) < 0.03


@pytest.mark.parametrize("semantics", ["tf", "torchvision"])
@pytest.mark.parametrize("brightness", ["additive", "multiplicative"])
def test_brightness_is_chosen_apart_from_the_other_three(semantics, brightness) -> None:
    """The others keep their operators and amounts; one pixel at a time, brightness adds or not."""
    plain, chosen = ColorJitter(1.0, 1.0, semantics), ColorJitter(1.0, 1.0, semantics, brightness)
    assert chosen.jitters[1:] == plain.jitters[1:]
    amounts = chosen.parameters(draws(20_000))[2]
    assert torch.equal(amounts[1:], plain.parameters(draws(20_000))[2][1:])
    low, high = (-0.8, 0.8) if brightness == "additive" else (0.2, 1.8)
    assert low <= float(amounts[0].min()) < low + 0.01
    assert high - 0.01 < float(amounts[0].max()) <= high
    assert float(amounts[0].mean()) == pytest.approx((low + high) / 2, abs=0.01)
    x = pixels()[:1]
    found = chosen.jitters[0](x, amounts[0, :1])
    for c, p in itertools.product(range(3), range(x.shape[2])):
        value, amount = float(x[0, c, p]), float(amounts[0, 0])
        slow = value + amount if brightness == "additive" else value * amount
        assert float(found[0, c, p]) == pytest.approx(slow)


def test_brightness_of_the_semantics_is_the_default() -> None:
    images = torch.rand(50, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for semantics, own in (("tf", "additive"), ("torchvision", "multiplicative")):
        default, named = (
            ColorJitter(1.0, 0.8, semantics, b)(images, draws(50)) for b in ("of_semantics", own)
        )
        assert torch.equal(default, named)


def test_a_factor_of_brightness_is_cut_at_zero() -> None:
    amounts = ColorJitter(2.0, 1.0, "torchvision", "multiplicative").parameters(draws(20_000))[2]
    assert 0 <= float(amounts[0].min()) < 0.01
    assert 2.59 < float(amounts[0].max()) <= 2.6


def test_multiplied_brightness_by_one_image_at_a_time() -> None:
    jitter = ColorJitter(1.0, 0.8, brightness="multiplicative")
    images = torch.rand(30, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted, order, amounts = jitter.parameters(draws(30))
    together = jitter(images, draws(30))
    for i in range(30):
        x = images[i : i + 1].flatten(2)
        for op in ORDERS[int(order[i])] if wanted[i] else ():
            amount = amounts[op, i : i + 1].float()
            x = (x * amount if op == 0 else JITTERS[op](x, amount)).clamp(0, 1)
        assert torch.allclose(together[i], x.view(3, 8, 8), atol=1e-6)


def test_strength_zero_changes_no_colour_much() -> None:
    images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ColorJitter(0.0, 1.0)(images, draws(20)), images, atol=1e-5)


def test_strength_beyond_the_operators_is_refused() -> None:
    with pytest.raises(ValueError, match=r"color_strength is 1.3; allowed: 0 to 1.25"):
        ColorJitter(1.3)


def test_a_fifth_of_the_images_loses_its_colour() -> None:
    images = torch.rand(5000, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    dropped = ColorDrop(0.2)(images, draws(5000))
    gray = (dropped[:, 0] == dropped[:, 1]).flatten(1).all(dim=1)
    assert float(gray.double().mean()) == pytest.approx(0.2, abs=0.02)
    assert torch.equal(dropped[~gray], images[~gray])
    weights = torch.tensor([0.2989, 0.587, 0.114])[None, :, None, None]
    assert torch.allclose(dropped[gray][:, 0], (images[gray] * weights).sum(dim=1), atol=1e-6)
