"""Ordered policies, and the one-branch protocol of Figure 5."""

import pytest
import torch

from simclr_lab.contrastive.augment import TwoViews, make_operators, ordered_policy, simclr_policy
from simclr_lab.contrastive.augment.color import ColorDrop, ColorJitter
from simclr_lab.contrastive.augment.crop import ResizeWhole
from simclr_lab.contrastive.augment.policy import SIMCLR_ORDER

OPERATORS = make_operators(
    equalize_probability=1.0, solarize_probability=1.0, motion_blur_probability=1.0
)
NAMES = tuple(OPERATORS)


def batch(n: int = 16, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=generator)
    return images, torch.arange(n) * 7_368_787


def same(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a == b).flatten(1).all(dim=1)


def test_the_papers_policy_is_the_default_order() -> None:
    assert ordered_policy(make_operators(), SIMCLR_ORDER) == simclr_policy()


def test_colour_is_jitter_and_then_drop() -> None:
    """The other way round, a gray image would get its colour cast back from the jitter."""
    assert [type(operator) for operator in make_operators()["color"]] == [ColorJitter, ColorDrop]


def test_order_matters_and_is_kept() -> None:
    images, seeds = batch()
    one, other = (
        TwoViews(ordered_policy(OPERATORS, order), 32)(images, seeds)[0]
        for order in (("crop", "sobel", "cutout"), ("crop", "cutout", "sobel"))
    )
    assert not bool(same(one, other).any())


@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("second", NAMES)
def test_every_pair_of_figure_5(first, second) -> None:
    """The first view is the shared crop whatever the operators; the second differs from it."""
    images, seeds = batch()
    policy = ordered_policy(OPERATORS, (first, second), "second")
    a, b = TwoViews(policy, 32)(images, seeds)
    plain, also_plain = TwoViews(ordered_policy(OPERATORS, (), "second"), 32)(images, seeds)
    assert torch.equal(a, plain)
    assert torch.equal(plain, also_plain)
    assert a.shape == b.shape == (16, 3, 32, 32)
    if {first, second} - {"resize", "blur", "rotate"}:  # these leave some images as they are
        assert float(same(a, b).double().mean()) < 0.3


def test_the_shared_crop_is_a_crop() -> None:
    images, seeds = batch(64)
    a, _ = TwoViews(ordered_policy(OPERATORS, (), "second"), 32)(images, seeds)
    assert float(same(a, images / 255).double().mean()) < 0.1


def test_without_a_crop_whole_images_are_resized() -> None:
    policy = ordered_policy(make_operators(jitter_probability=0.0), ("color",))
    assert isinstance(policy.branch_a[0], ResizeWhole)
    images, seeds = batch(8, 24)
    a, b = TwoViews(policy, 16)(images, seeds)
    assert a.shape == b.shape == (8, 3, 16, 16)
    images, seeds = batch(8, 32)
    plain = TwoViews(ordered_policy(OPERATORS, ()), 32)(images, seeds)
    for view in plain:
        assert torch.allclose(view, images / 255)


def test_the_shared_crop_is_also_mirrored_unless_it_is_told_not_to() -> None:
    """Without the flip, the shared crop is the crop whose images are never mirrored."""
    images, seeds = batch(64)
    unmirrored, mirrored = (
        TwoViews(ordered_policy(make_operators(flip_probability=p), (), "second"), 32)
        for p in (0.0, 1.0)
    )
    never, always = (views(images, seeds)[0] for views in (unmirrored, mirrored))
    assert torch.allclose(never, always.flip(3), atol=1e-6)
    plain, _ = TwoViews(ordered_policy(make_operators(), (), "second"), 32)(images, seeds)
    unflipped = make_operators(base_flip=False)
    base, _ = TwoViews(ordered_policy(unflipped, (), "second"), 32)(images, seeds)
    assert torch.equal(base, never)
    assert 0.3 < float(same(plain, never).double().mean()) < 0.7
    assert unflipped["crop"] == make_operators()["crop"]  # a crop among the operators flips


@pytest.mark.parametrize("crop", ["tf", "torchvision"])
@pytest.mark.parametrize("semantics", ["tf", "torchvision"])
def test_the_crop_is_chosen_apart_from_the_other_operators(semantics, crop) -> None:
    own, mixed = make_operators(semantics=crop), make_operators(semantics=semantics, crop=crop)
    rest = make_operators(semantics=semantics)
    for name in NAMES:
        expected = own if name in ("base", "crop", "resize") else rest
        assert mixed[name] == expected[name], name
    assert (mixed["crop"] == rest["crop"]) is (semantics == crop)
