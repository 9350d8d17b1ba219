"""Two views: independent draws per image and view, a function of pixels and seed alone."""

import torch

from simclr_lab.contrastive.augment import TwoViews, simclr_policy
from simclr_lab.contrastive.draws import image_seeds

POLICY = simclr_policy(color_strength=1.0)


def batch(n: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    positions = torch.arange(n)
    return images, image_seeds(0, "views", torch.zeros_like(positions), positions)


def test_views_are_in_range_and_differ() -> None:
    a, b = TwoViews(POLICY, 32)(*batch(), 1)
    for view in (a, b):
        assert view.shape == (32, 3, 32, 32)
        assert view.dtype == torch.float32
        assert float(view.min()) >= 0
        assert float(view.max()) <= 1
    assert not torch.allclose(a, b)


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    images, seeds = batch()
    views = TwoViews(POLICY, 32)
    whole = views(images, seeds, 1)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    for shuffled, plain in zip(views(images[order], seeds[order], 1), whole, strict=True):
        assert torch.allclose(shuffled, plain[order], atol=1e-6)
    for part, plain in zip(views(images[8:16], seeds[8:16], 1), whole, strict=True):
        assert torch.allclose(part, plain[8:16], atol=1e-6)


def test_same_seed_same_view_other_seed_other_view() -> None:
    images, seeds = batch()
    views = TwoViews(POLICY, 32)
    assert torch.equal(views(images, seeds, 1)[0], views(images, seeds, 1)[0])
    other = views(images, seeds + 1, 1)[0]
    same = (views(images, seeds, 1)[0] == other).flatten(1).all(dim=1)
    assert not bool(same.any())


def test_equal_images_get_independent_views() -> None:
    """One picture many times: what differs is the draws, and they are uncorrelated over views."""
    n = 3000
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    _, seeds = batch(n)
    a, b = TwoViews(POLICY, 32)(image.expand(n, -1, -1, -1), seeds, 1)
    # A few are alike: strong jitter can clip a whole view to black or white.
    assert len(a.flatten(1).unique(dim=0)) > 0.98 * n
    brightness = torch.stack([a.mean(dim=(1, 2, 3)), b.mean(dim=(1, 2, 3))])
    assert abs(float(torch.corrcoef(brightness)[0, 1])) < 0.06
    neighbours = torch.stack([brightness[0, :-1], brightness[0, 1:]])
    assert abs(float(torch.corrcoef(neighbours)[0, 1])) < 0.06


def test_float64_views_equal_float32_ones() -> None:
    images, seeds = batch()
    wide = TwoViews(POLICY, 32, dtype=torch.float64)(images, seeds, 1)
    for view, plain in zip(wide, TwoViews(POLICY, 32)(images, seeds, 1), strict=True):
        assert view.dtype == torch.float64
        assert torch.allclose(view.float(), plain, atol=2e-5)


def test_the_images_are_not_written_to() -> None:
    images, seeds = batch()
    before = images.clone()
    TwoViews(POLICY, 32)(images, seeds, 1)
    assert torch.equal(images, before)


def test_operators_of_probability_zero_are_left_out() -> None:
    plain = simclr_policy(jitter_probability=0, color_drop_probability=0, blur_probability=0)
    assert len(plain.branch_a) == 1
    assert len(POLICY.branch_a) == 4
