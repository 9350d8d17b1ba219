"""The other reading of App. A: torchvision's crop, resize, colour and blur, against torchvision."""

import math

import pytest
import torch
from golden_values import golden
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as reference

from simclr_lab.contrastive.augment import TwoViews, make_operators, ordered_policy
from simclr_lab.contrastive.augment.blur import blur, gaussian_kernels
from simclr_lab.contrastive.augment.color import (
    ColorJitter,
    adjust_hue,
    blend_with_gray,
    blend_with_mean,
    scale_brightness,
)
from simclr_lab.contrastive.augment.crop import Boxes, resample
from simclr_lab.contrastive.augment.crop_torchvision import draw_boxes, resize_weights
from simclr_lab.contrastive.augment.operator import Draws

STATISTICS = golden("image_ops")["crop_area_statistics"]


def images(n: int, size: int = 32) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def seeds(n: int) -> torch.Tensor:
    return torch.arange(n) * 7919 + 13


@pytest.mark.parametrize(("height", "width"), [(32, 32), (375, 500)])
def test_area_statistics(height: int, width: int) -> None:
    boxes = draw_boxes(seeds(20_000), height, width)
    share = (boxes.height * boxes.width).double() / (height * width)
    official = STATISTICS[f"s{height}x{width}"]["torchvision"]
    assert float(share.mean()) == pytest.approx(official["mean"], abs=0.01)
    for name, quantile in (("median", 0.5), ("q10", 0.1), ("q90", 0.9)):
        assert float(share.quantile(quantile)) == pytest.approx(official[name], abs=0.012)


def test_boxes_are_distributed_as_torchvisions() -> None:
    """Means and deviations of every side and offset, over ten thousand draws of each."""
    torch.manual_seed(0)
    crop = RandomResizedCrop(32)
    theirs = torch.tensor(
        [
            crop.get_params(torch.empty(3, 40, 60), [0.08, 1.0], [3 / 4, 4 / 3])
            for _ in range(10_000)
        ]
    ).double()
    boxes = draw_boxes(seeds(10_000), 40, 60)
    ours = torch.stack([boxes.top, boxes.left, boxes.height, boxes.width], dim=1).double()
    assert torch.allclose(ours.mean(dim=0), theirs.mean(dim=0), atol=0.5)
    assert torch.allclose(ours.std(dim=0), theirs.std(dim=0), atol=0.4)
    assert torch.equal(ours.amin(dim=0) >= 0, torch.ones(4, dtype=torch.bool))
    assert int((boxes.top + boxes.height).max()) == 40


def test_an_image_too_long_for_any_crop_gets_the_central_one() -> None:
    boxes = draw_boxes(seeds(50), 4, 400)
    central = Boxes(*(torch.full((50,), v) for v in (0, (400 - 5) // 2, 4, 5)))
    for name in ("top", "left", "height", "width"):
        assert torch.equal(getattr(boxes, name), getattr(central, name))


@pytest.mark.parametrize("box", [(0, 0, 32, 32), (3, 5, 9, 12), (10, 0, 20, 32), (0, 30, 7, 2)])
@pytest.mark.parametrize("size", [32, 16, 20])
def test_resize_is_torchvisions(box, size: int) -> None:
    top, left, height, width = (torch.tensor([value]) for value in box)
    rows = resize_weights(top, height, 32, size)
    columns = resize_weights(left, width, 32, size)
    ours = resample(images(1), rows, columns)
    theirs = reference.resized_crop(images(1), *box, size=[size, size], antialias=True)
    assert torch.allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
def test_colours_are_torchvisions(factor: float) -> None:
    x = images(4)
    n = torch.full((4,), factor)
    pairs = [
        (scale_brightness, reference.adjust_brightness),
        (blend_with_mean, reference.adjust_contrast),
        (blend_with_gray, reference.adjust_saturation),
    ]
    for ours, theirs in pairs:
        found = ours(x.flatten(2), n).view_as(x).clamp(0, 1)
        assert torch.allclose(found, theirs(x, factor), atol=2e-4), ours.__name__


@pytest.mark.parametrize("turn", [-0.5, -0.2, 0.0, 0.13, 0.4])
def test_hue_is_torchvisions(turn: float) -> None:
    x = images(4)
    found = adjust_hue(x.flatten(2), torch.full((4,), turn)).view_as(x)
    assert torch.allclose(found, reference.adjust_hue(x, turn), atol=2e-5)


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_factors_are_cut_at_zero(strength: float) -> None:
    jitter = ColorJitter(strength, semantics="torchvision")
    _, _, amounts = jitter.parameters(Draws(seeds(20_000), None, 32))
    reach = 0.8 * strength
    for factor in amounts[:3]:
        low, high = max(0.0, 1 - reach), 1 + reach
        assert low <= float(factor.min()) < low + 0.01
        assert float(factor.mean()) == pytest.approx((low + high) / 2, abs=0.02)
    assert float(amounts[3].abs().max()) == pytest.approx(0.2 * strength, abs=0.001)


def test_strength_has_each_semantics_own_limit() -> None:
    ColorJitter(2.5, semantics="torchvision")
    with pytest.raises(ValueError, match=r"color_strength is 2.6; allowed: 0 to 2.5"):
        ColorJitter(2.6, semantics="torchvision")
    with pytest.raises(ValueError, match=r"color_strength is 1.3; allowed: 0 to 1.25"):
        ColorJitter(1.3, semantics="tf")


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_blur_mirrors_the_border_as_torchvision_does(sigma: float) -> None:
    x = images(2)
    kernels = gaussian_kernels(torch.full((2,), sigma), 5)
    theirs = reference.gaussian_blur(x, [5, 5], [sigma, sigma])
    assert torch.allclose(blur(x, kernels, "reflect"), theirs, atol=1e-6)
    assert not torch.allclose(blur(x, kernels, "zeros"), theirs, atol=1e-3)


def test_a_whole_policy_of_torchvisions_operators() -> None:
    batch = (255 * images(16)).to(torch.uint8)
    views = {}
    for semantics in ("tf", "torchvision"):
        operators = make_operators(semantics=semantics)
        policy = ordered_policy(operators, ("crop", "color", "blur"))
        views[semantics] = TwoViews(policy, 32)(batch, seeds(16))[0]
        assert math.isfinite(float(views[semantics].mean()))
        whole = TwoViews(ordered_policy(operators, ()), 16)(batch, seeds(16))[0]
        assert whole.shape == (16, 3, 16, 16)
    assert not torch.allclose(views["tf"], views["torchvision"])
    half = reference.resize(batch.float() / 255, [16, 16], antialias=True)
    assert torch.allclose(whole, half.clamp(0, 1), atol=2e-6)
