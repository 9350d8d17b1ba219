"""AutoAugment against loops over images and pixels, and against torchvision's two versions."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import AutoAugment as FirstVersion
from torchvision.transforms import AutoAugmentPolicy
from torchvision.transforms import functional as first
from torchvision.transforms.v2 import functional as second

from simclr_lab.contrastive.augment import TwoViews, make_operators, ordered_policy
from simclr_lab.contrastive.augment.autoaugment import (
    NAMES,
    UNCHANGED,
    AutoAugment,
    LearnedOn,
    sub_policies,
)
from simclr_lab.contrastive.augment.autoaugment_transforms import transform
from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, integers, uniform

POLICIES: list[LearnedOn] = ["imagenet", "cifar10", "svhn"]
LARGEST = {
    **dict.fromkeys(["ShearX", "ShearY"], 0.3),
    **dict.fromkeys(["TranslateX", "TranslateY"], 14.5),
    "Rotate": 30.0,
    **dict.fromkeys(["Brightness", "Color", "Contrast", "Sharpness"], 0.9),
}
SIGNED = [(name, s * m * t) for name, m in LARGEST.items() for t in (0.3, 0.7, 1) for s in (1, -1)]
CASES = [
    *SIGNED,
    *[("Posterize", float(bits)) for bits in range(4, 9)],
    *[("Solarize", threshold) for threshold in (0.0, 85.0, 113.3, 255.0)],
    *[(name, 0.0) for name in ("AutoContrast", "Equalize", "Invert", *LARGEST)],
]


def levels(n: int, size: int = 32) -> Tensor:
    """Random images of narrow and of full range."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, 3, size, size), generator=generator)
    x[::2] = 40 + x[::2] // 2
    return x.to(torch.uint8)


def draws(n: int) -> Draws:
    return Draws(torch.arange(n) * 982_451_653 + 7, None, 32)


def affine(library, x: Tensor, shear=(0.0, 0.0), shift=(0, 0), center=None) -> Tensor:
    angles = [math.degrees(math.atan(slope)) for slope in shear]
    return library.affine(x, 0.0, list(shift), 1.0, angles, center=center)


def torchvisions(library, x: Tensor, name: str, magnitude: float) -> Tensor:
    """One image by torchvision's function of that name."""
    match name:
        case "ShearX":
            return affine(library, x, shear=(magnitude, 0), center=[0, 0])
        case "ShearY":
            return affine(library, x, shear=(0, magnitude), center=[0, 0])
        case "TranslateX":
            return affine(library, x, shift=(int(magnitude), 0))
        case "TranslateY":
            return affine(library, x, shift=(0, int(magnitude)))
        case "Rotate":
            return library.rotate(x, magnitude)
        case "Brightness" | "Contrast" | "Sharpness":
            return getattr(library, f"adjust_{name.lower()}")(x, 1 + magnitude)
        case "Color":
            return library.adjust_saturation(x, 1 + magnitude)
        case "Posterize":
            return library.posterize(x, int(magnitude))
        case "Solarize":
            return library.solarize(x, magnitude)
        case _:
            return getattr(library, name.lower())(x)


@pytest.mark.parametrize(("name", "magnitude"), CASES)
def test_a_batch_equals_torchvisions_function_of_each_image(name, magnitude) -> None:
    """Exactly the second version; the first truncates elsewhere, by one level of 255 at most."""
    x = levels(8)
    found = transform(x, name, magnitude)
    assert torch.equal(found, torch.stack([torchvisions(second, i, name, magnitude) for i in x]))
    other = torch.stack([torchvisions(first, i, name, magnitude) for i in x])
    apart = 1 if name in ("Color", "Sharpness", "AutoContrast") else 0
    assert int((found.int() - other.int()).abs().max()) <= apart


def inverse(name: str, m: float, size: int) -> Callable[[float, float], tuple[float, float]]:
    """(column, row) of the source of a point, in pixels from the top left corner."""
    middle = size / 2
    cos, sin = math.cos(math.radians(m)), math.sin(math.radians(m))
    return {
        "ShearX": lambda x, y: (x + m * y, y),
        "ShearY": lambda x, y: (x, y + m * x),
        "TranslateX": lambda x, y: (x - int(m), y),
        "TranslateY": lambda x, y: (x, y - int(m)),
        "Rotate": lambda x, y: (
            middle + cos * (x - middle) - sin * (y - middle),
            middle + sin * (x - middle) + cos * (y - middle),
        ),
    }[name]


@pytest.mark.parametrize(("name", "magnitude"), SIGNED[:30])
def test_moving_transforms_equal_their_loop(name, magnitude) -> None:
    """The pixel that holds the source of each pixel's centre, or black."""
    x = levels(1, 21)[0]
    found, source = transform(x[None], name, magnitude)[0], inverse(name, magnitude, 21)
    slow = torch.zeros_like(x)
    for i in range(21):
        for j in range(21):
            column, row = (math.floor(value) for value in source(j + 0.5, i + 0.5))
            if 0 <= column < 21 and 0 <= row < 21:
                slow[:, i, j] = x[:, row, column]
    # A source on the border of two pixels may fall to either, as many do at 30 degrees.
    assert float((found != slow).any(dim=0).double().mean()) < 0.03
    assert not torch.equal(found, x)


def smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means with the centre counted five times; the outermost pixels stay."""
    out = x.copy()
    for i in range(1, x.shape[1] - 1):
        for j in range(1, x.shape[2] - 1):
            patch = x[:, i - 1 : i + 2, j - 1 : j + 2]
            out[:, i, j] = (patch.sum(axis=(1, 2)) + 4 * x[:, i, j]) / 13
    return out


def slow_tone(x: NDArray[np.float64], name: str, m: float) -> NDArray[np.float64]:
    """One image by the definition, before rounding."""
    gray = np.broadcast_to(0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2], x.shape)
    low, high = x.min(axis=(1, 2), keepdims=True), x.max(axis=(1, 2), keepdims=True)
    flat = {"Brightness": 0 * x, "Color": gray, "Contrast": 0 * x + gray.mean()}
    match name:
        case "Invert":
            return 255 - x
        case "Solarize":
            return np.where(x >= m, 255 - x, x)
        case "Posterize":
            return x // 2 ** (8 - m) * 2 ** (8 - m)
        case "AutoContrast":
            return 255 * (x - low) / (high - low)
        case "Sharpness":
            flat = {"Sharpness": smooth(x)}
    return np.clip((1 + m) * x - m * flat[name], 0, 255)


@pytest.mark.parametrize(
    ("name", "magnitude"),
    [case for case in CASES if case[0] not in (*list(LARGEST)[:5], "Equalize")],
)
def test_toning_transforms_equal_their_definition(name, magnitude) -> None:
    """Within two of 255 levels, for truncation; Equalize has its loop in test_figure_4.py."""
    x = levels(2, 9)
    found = transform(x, name, magnitude)
    for fast, one in zip(found, x, strict=True):
        slow = slow_tone(one.double().numpy(), name, magnitude)
        exact = name in ("Invert", "Solarize", "Posterize")
        assert np.abs(fast.numpy() - slow).max() <= (0 if exact else 2)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_operator_equals_its_loop(policy) -> None:
    """Image by image, from torchvision's own table."""
    x = levels(120)
    fast = AutoAugment(policy)(x / 255, draws(120))
    source = FirstVersion(AutoAugmentPolicy(policy))
    space = source._augmentation_space(10, (32, 32))
    for n in range(120):
        seed = derive(draws(120).seeds[n : n + 1], "autoaugment")
        slow = x[n]
        row = source.policies[int(integers(seed, 0, 25))]
        for step, (name, probability, level) in enumerate(row):
            if float(uniform(seed, 1 + step)) >= probability:
                continue
            magnitudes, signed = space[name]
            magnitude = 0.0 if level is None else float(magnitudes[level])
            if signed and int(integers(seed, 3 + step, 2)) == 0:
                magnitude = -magnitude
            slow = torchvisions(second, slow, name, magnitude)
        assert torch.equal((fast[n] * 255).round().to(torch.uint8), slow)


@pytest.mark.parametrize("policy", POLICIES)
def test_sub_policies_probabilities_and_signs_come_as_often_as_the_table_says(policy) -> None:
    n = 20_000
    chosen, table = AutoAugment(policy).choose(draws(n), 32, 32), sub_policies(policy, 32, 32)
    rows = integers(derive(draws(n).seeds, "autoaugment"), 0, 25)
    assert float((torch.bincount(rows, minlength=25) / n - 1 / 25).abs().max()) < 0.006
    for row in range(25):
        applied = (chosen.transforms[rows == row] != UNCHANGED).double()
        assert torch.allclose(applied.mean(dim=0), table.probabilities[row], atol=0.07)
        both, apart = applied.prod(dim=1).mean(), applied.mean(dim=0).prod()
        assert abs(float(both - apart)) < 0.05
    for step in range(2):
        drawn = chosen.magnitudes[:, step][
            table.signed[rows, step] & (chosen.magnitudes != 0)[:, step]
        ]
        assert float((drawn < 0).double().mean()) == pytest.approx(0.5, abs=0.02)
        kinds = chosen.transforms[:, step]
        for kind in kinds.unique():
            if kind != UNCHANGED:
                expected = (
                    table.probabilities[:, step] * (table.transforms[:, step] == kind)
                ).sum()
                share = float((kinds == kind).double().mean())
                assert share == pytest.approx(float(expected) / 25, abs=0.012)


def test_translations_grow_with_the_image() -> None:
    small, large = sub_policies("cifar10", 32, 32), sub_policies("cifar10", 64, 64)
    moves = (small.transforms == NAMES.index("TranslateY")) & (small.magnitudes > 0)
    assert torch.allclose(large.magnitudes[moves], 2 * small.magnitudes[moves])
    assert torch.equal(large.magnitudes[~moves][:1], small.magnitudes[~moves][:1])
    assert float(small.magnitudes[moves].max()) == pytest.approx(150 / 331 * 32)


def views(size: int = 32) -> TwoViews:
    operators = make_operators(autoaugment_policy="cifar10")
    return TwoViews(ordered_policy(operators, ("autoaugment",)), size)


def test_views_and_neighbours_are_independent() -> None:
    """One picture many times: brightness differs, uncorrelated over views and over neighbours."""
    n = 3000
    a, b = views()(levels(1).expand(n, -1, -1, -1), draws(n).seeds)
    brightness = torch.stack([a.mean(dim=(1, 2, 3)), b.mean(dim=(1, 2, 3))])
    assert float(brightness.std(dim=1).min()) > 0.02
    assert abs(float(torch.corrcoef(brightness)[0, 1])) < 0.06
    neighbours = torch.stack([brightness[0, :-1], brightness[0, 1:]])
    assert abs(float(torch.corrcoef(neighbours)[0, 1])) < 0.06


def test_same_seeds_same_views_in_any_order() -> None:
    images, seeds = levels(64), draws(64).seeds
    plain = views()(images, seeds)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    for again, permuted, alone, view in zip(
        views()(images, seeds),
        views()(images[order], seeds[order]),
        views()(images[7:8], seeds[7:8]),
        plain,
        strict=True,
    ):
        assert torch.equal(again, view)
        assert torch.equal(permuted, view[order])
        assert torch.equal(alone, view[7:8])
    other = views()(images, seeds + 1)[0]
    assert float((other == plain[0]).flatten(1).all(dim=1).double().mean()) < 0.3


def test_values_outside_the_range_are_clipped_and_the_input_is_kept() -> None:
    x = torch.randn(50, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = x.clone()
    y = AutoAugment()(x, draws(50))
    assert torch.equal(x, before)
    assert y.dtype == torch.float64
    assert torch.equal(y, AutoAugment()((x.clamp(0, 1) * 255).round() / 255, draws(50)))
