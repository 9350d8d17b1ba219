"""Blur against official values and a per-pixel twin."""

import math

import pytest
import torch
from golden_values import golden

from simclr_lab.contrastive.augment import TwoViews, make_operators, ordered_policy
from simclr_lab.contrastive.augment.blur import GaussianBlur, blur, gaussian_kernels, taps
from simclr_lab.contrastive.augment.operator import Draws

OFFICIAL = golden("image_ops")["blur"]


def test_official_impulse_response() -> None:
    image = torch.zeros(1, 3, 9, 9)
    image[:, :, 4, 4] = image[:, :, 0, 0] = 1
    blurred = blur(image, gaussian_kernels(torch.tensor([1.0]), 3))
    expected = torch.tensor(OFFICIAL["kernel_arg_3_sigma_1_channel0"])
    for channel in range(3):
        assert torch.allclose(blurred[0, channel], expected, atol=1e-6)


@pytest.mark.parametrize(("size", "width"), OFFICIAL["taps_by_image_size"].items())
def test_official_kernel_widths(size: str, width: int) -> None:
    assert taps(int(size)) == width


def test_borders_darken_as_in_the_official_code() -> None:
    blurred = blur(torch.ones(1, 1, 9, 9), gaussian_kernels(torch.tensor([1.0]), 3))
    assert float(blurred[0, 0, 0, 0]) == pytest.approx(0.527, abs=5e-4)
    assert float(blurred[0, 0, 4, 4]) == pytest.approx(1.0)


def test_equals_a_double_loop() -> None:
    x = torch.rand(2, 1, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigmas = torch.tensor([0.6, 1.7], dtype=torch.float64)
    fast = blur(x, gaussian_kernels(sigmas, 5))
    for n, sigma in enumerate(sigmas.tolist()):
        weight = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(-2, 3)]
        weight = [w / sum(weight) for w in weight]
        for i in range(7):
            for j in range(7):
                slow = sum(
                    weight[a + 2] * weight[b + 2] * float(x[n, 0, i + a, j + b])
                    for a in range(-2, 3)
                    for b in range(-2, 3)
                    if 0 <= i + a < 7 and 0 <= j + b < 7
                )
                assert float(fast[n, 0, i, j]) == pytest.approx(slow, rel=1e-12)


def draws(n: int, batch_seed: int | None = 5) -> Draws:
    return Draws(torch.arange(n) * 15_485_863, batch_seed, 32)


def test_half_of_the_images_are_blurred_each_as_if_alone() -> None:
    images = torch.rand(400, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    blurred = GaussianBlur(0.5)(images, draws(400))
    changed = (blurred != images).flatten(1).any(dim=1)
    assert float(changed.double().mean()) == pytest.approx(0.5, abs=0.08)
    sigmas = GaussianBlur(0.5).sigmas(draws(400))
    index = int(changed.nonzero()[0])
    alone = blur(images[index : index + 1], gaussian_kernels(sigmas[:1].float(), 3))
    assert torch.allclose(blurred[index], alone[0], atol=1e-6)


def test_scope_of_sigma() -> None:
    shared = GaussianBlur(sigma_scope="batch").sigmas(draws(1000))
    own = GaussianBlur(sigma_scope="image").sigmas(draws(1000))
    assert len(shared.unique()) == 1
    assert len(own.unique()) == 1000
    assert 0.1 <= float(own.min()) < 0.12
    assert 1.98 < float(own.max()) <= 2.0


def test_without_a_batch_seed_every_image_is_its_own_batch() -> None:
    assert len(GaussianBlur(sigma_scope="batch").sigmas(draws(100, None)).unique()) == 100


def test_what_the_resize_overshot_is_clipped_before_the_blur() -> None:
    images = torch.full((50, 3, 32, 32), 1.2)
    assert float(GaussianBlur(0.5)(images, draws(50)).max()) <= 1.0 + 1e-6


def blurred_gray(**settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Both views of forty gray images, after nothing but the blur."""
    operators = make_operators(blur_probability=1.0, **settings)
    views = TwoViews(ordered_policy(operators, ("blur",)), 32, dtype=torch.float64)
    images = torch.full((40, 3, 32, 32), 102, dtype=torch.uint8)
    return views(images, torch.arange(40) * 15_485_863, 5)


def test_policies_pad_as_the_semantics_say() -> None:
    for semantics, padding in (("tf", "zeros"), ("torchvision", "reflect")):
        (operator,) = make_operators(semantics=semantics)["blur"]
        assert operator.padding == padding
    for view in blurred_gray(semantics="torchvision"):
        assert torch.allclose(view, torch.full_like(view, 0.4))
    for view in blurred_gray(semantics="tf", blur_sigma_min=1.0, blur_sigma_max=1.0):
        inside, edge, corner = view[:, :, 16, 16], view[:, :, 16, 0], view[:, :, 0, 0]
        assert torch.allclose(inside, torch.full_like(inside, 0.4))
        kept = 1 - math.exp(-0.5) / (1 + 2 * math.exp(-0.5))  # a side's weight falls on zeros
        assert torch.allclose(edge, 0.4 * torch.full_like(edge, kept))
        assert torch.allclose(corner, 0.4 * torch.full_like(corner, kept**2))


def test_each_view_of_a_batch_has_a_sigma_of_its_own() -> None:
    """How dark the border is tells sigma."""
    a, b = (view[:, 0, 16, 0] for view in blurred_gray(blur_sigma_scope="batch"))
    assert float(a.max() - a.min()) < 1e-9
    assert float(b.max() - b.min()) < 1e-9
    assert float((a - b).abs().min()) > 1e-3
    a, b = (view[:, 0, 16, 0] for view in blurred_gray(blur_sigma_scope="image"))
    assert len(a.unique()) == len(b.unique()) == 40
    assert not bool((a == b).any())
