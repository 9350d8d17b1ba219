"""Crop and resize against per-image twins, official values and official statistics."""

import math

import pytest
import torch
from golden_values import golden

from simclr_lab.contrastive.augment.crop import (
    Boxes,
    CropResizeFlip,
    draw_boxes,
    resample,
    resize_weights,
)
from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, uniform

OFFICIAL = golden("image_ops")
STATISTICS = OFFICIAL["crop_area_statistics"]


def seeds(n: int) -> torch.Tensor:
    return torch.arange(n) * 7919 + 13


def areas(boxes: Boxes, height: int, width: int) -> torch.Tensor:
    return (boxes.height * boxes.width).double() / (height * width)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (375, 500)])
def test_official_area_statistics(height: int, width: int) -> None:
    share = areas(draw_boxes(seeds(20_000), height, width), height, width)
    official = STATISTICS[f"s{height}x{width}"]["TF"]
    assert float(share.mean()) == pytest.approx(official["mean"], abs=0.01)
    for name, quantile in (("median", 0.5), ("q10", 0.1), ("q90", 0.9)):
        assert float(share.quantile(quantile)) == pytest.approx(official[name], abs=0.012)
    assert float(share.min()) >= STATISTICS["effective_min_area"]["official"]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 64), (9, 200)])
def test_boxes_lie_inside_and_keep_their_aspect(height: int, width: int) -> None:
    boxes = draw_boxes(seeds(5000), height, width)
    assert bool((boxes.top >= 0).all())
    assert bool((boxes.left >= 0).all())
    assert bool((boxes.top + boxes.height <= height).all())
    assert bool((boxes.left + boxes.width <= width).all())
    whole = (boxes.height == height) & (boxes.width == width)
    aspect = (boxes.width.double() / boxes.height)[~whole]
    slack = 1.0 / boxes.height[~whole]  # whole pixels round the aspect
    assert bool((aspect >= 3 / 4 - slack).all())
    assert bool((aspect <= 4 / 3 + slack).all())


def test_the_last_offset_is_never_drawn() -> None:
    boxes = draw_boxes(seeds(20_000), 32, 32)
    smaller = boxes.height < 32
    assert bool((boxes.top + boxes.height < 32)[smaller].all())
    assert int((boxes.top + boxes.height)[smaller].max()) == 31


def test_an_image_too_long_for_any_crop_stays_whole() -> None:
    boxes = draw_boxes(seeds(20), 4, 400)
    assert bool((boxes.width == 400).all())
    assert bool((boxes.height == 4).all())


def slow_box(seed: int, height: int, width: int, area_min: float) -> tuple[int, int, int, int]:
    """TensorFlow's sampler for one image in plain Python: (top, left, height, width)."""
    low, high = area_min * height * width, float(height * width)
    for attempt in range(100):
        stream = derive(torch.tensor([seed]), attempt)
        u = [float(uniform(stream, counter)) for counter in range(4)]
        r = 3 / 4 + u[0] * (4 / 3 - 3 / 4)
        h_min, h_max = round(math.sqrt(low / r)), round(math.sqrt(high / r))
        if round(h_max * r) > width:
            h_max = math.floor((width + 0.5 - 1e-7) / r)
            if round(h_max * r) > width:
                h_max -= 1
        h_max = min(h_max, height)
        h_min = min(h_min, h_max)
        h = h_min + math.floor(u[1] * (h_max - h_min + 1))
        w = round(h * r)
        if w * h < low:
            h += 1
            w = round(h * r)
        if w * h > high:
            h -= 1
            w = round(h * r)
        if not low <= w * h <= high or not 0 < h <= height or not 0 < w <= width:
            continue
        if w * h < 0.1 * height * width:
            continue
        top = math.floor(u[2] * (height - h)) if h < height else 0
        left = math.floor(u[3] * (width - w)) if w < width else 0
        return top, left, h, w
    return 0, 0, height, width


@pytest.mark.parametrize(
    ("height", "width", "area_min"),
    [(32, 32, 0.08), (375, 500, 0.08), (96, 64, 0.3), (9, 13, 0.08), (7, 7, 0.9), (4, 60, 0.08)],
)
def test_boxes_equal_their_twin(height: int, width: int, area_min: float) -> None:
    own = seeds(400 if height > 4 else 20)  # a hundred failing attempts take a while
    boxes = draw_boxes(own, height, width, area_min)
    found = zip(
        *(v.tolist() for v in (boxes.top, boxes.left, boxes.height, boxes.width)), strict=True
    )
    assert list(found) == [slow_box(seed, height, width, area_min) for seed in own.tolist()]


def slow_resize(row: list[float], start: int, length: int, n_out: int) -> list[float]:
    """Legacy bicubic of one row, pixel by pixel."""

    def cubic(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.25 * x**3 - 2.25 * x**2 + 1
        return -0.75 * x**3 + 3.75 * x**2 - 6 * x + 3 if x < 2 else 0.0

    out = []
    for target in range(n_out):
        source = target * length / n_out
        base = math.floor(source)
        fraction = round((source - base) * 1024) / 1024
        taps = [(base + k, cubic(fraction - k)) for k in (-1, 0, 1, 2)]
        out.append(sum(w * row[start + min(max(i, 0), length - 1)] for i, w in taps))
    return out


@pytest.mark.parametrize("n_out", [16, 5, 3])
def test_official_resize_of_an_impulse(n_out: int) -> None:
    weights = resize_weights(torch.tensor([0]), torch.tensor([8]), 8, n_out)
    official = OFFICIAL["resize_bicubic_legacy"][f"to_{n_out}"]
    assert weights[0, :, 3].tolist() == pytest.approx(official, abs=1e-6)


@pytest.mark.parametrize(("start", "length"), [(0, 32), (5, 9), (31, 1), (3, 27)])
def test_resize_equals_its_twin(start: int, length: int) -> None:
    row = torch.rand(32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = resize_weights(torch.tensor([start]), torch.tensor([length]), 32, 32)
    slow = slow_resize(row.tolist(), start, length, 32)
    assert (weights[0] @ row).tolist() == pytest.approx(slow, abs=1e-12)


def test_weights_sum_to_one_and_flip_mirrors() -> None:
    start, length = torch.tensor([2, 2]), torch.tensor([11, 11])
    flip = torch.tensor([False, True])
    weights = resize_weights(start, length, 32, 20, flip)
    assert torch.allclose(weights.sum(dim=2), torch.ones(2, 20, dtype=torch.float64))
    assert torch.equal(weights[1], weights[0].flip(0))


def test_resample_is_rows_then_columns() -> None:
    images = torch.rand(2, 3, 6, 7, dtype=torch.float64)
    rows, columns = torch.rand(2, 4, 6).double(), torch.rand(2, 4, 7).double()
    slow = torch.einsum("nah,nchw,nbw->ncab", rows, images, columns)
    assert torch.allclose(resample(images, rows, columns), slow)


def test_operator_equals_one_image_at_a_time() -> None:
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    operator = CropResizeFlip()
    together = operator(images, Draws(seeds(6), None, 32))
    for index in range(6):
        part = slice(index, index + 1)
        alone = operator(images[part], Draws(seeds(6)[part], None, 32))
        assert torch.allclose(together[part], alone, atol=1e-6)


def test_half_of_the_images_are_mirrored() -> None:
    ramp = torch.linspace(0, 1, 32).expand(2000, 3, 32, 32)
    views = CropResizeFlip()(ramp, Draws(seeds(2000), None, 32))
    falling = (views[:, 0, 16, 0] > views[:, 0, 16, -1]).double().mean()
    assert float(falling) == pytest.approx(0.5, abs=0.04)
