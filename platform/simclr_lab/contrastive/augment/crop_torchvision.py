"""Crop and resize as torchvision does them: the other reading of App. A (spec 1.2, 1.3)."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from simclr_lab.contrastive.augment.crop import ASPECT_MAX, ASPECT_MIN, Boxes, target_pixels
from simclr_lab.contrastive.draws import derive, integers, uniform

ATTEMPTS = 10


def draw_boxes(
    seeds: Int64[Tensor, " n"], height: int, width: int, area_min: float = 0.08
) -> Boxes:
    """``RandomResizedCrop``: area uniform, aspect log-uniform, every offset; ten attempts.

    Where all fail, the largest central crop whose aspect is allowed.
    """
    n = len(seeds)
    result = [torch.full((n,), value) for value in _central(height, width)]
    open_ = torch.ones(n, dtype=torch.bool)
    for attempt in range(ATTEMPTS):
        own = derive(seeds, attempt)
        area = height * width * (area_min + uniform(own, 0) * (1 - area_min))
        low, high = math.log(ASPECT_MIN), math.log(ASPECT_MAX)
        aspect = (low + uniform(own, 1) * (high - low)).exp()
        w, h = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
        valid = open_ & (w > 0) & (h > 0) & (w <= width) & (h <= height)
        top = integers(own, 2, (height - h).clamp(min=0) + 1)
        left = integers(own, 3, (width - w).clamp(min=0) + 1)
        for values, drawn in zip(result, (top, left, h, w), strict=True):
            values[valid] = drawn[valid]
        open_ &= ~valid
    return Boxes(*result)


def _central(height: int, width: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the largest central crop of an allowed aspect."""
    h, w = height, width
    if width / height < ASPECT_MIN:
        h = round(width / ASPECT_MIN)
    elif width / height > ASPECT_MAX:
        w = round(height * ASPECT_MAX)
    return (height - h) // 2, (width - w) // 2, h, w


def resize_weights(
    start: Int64[Tensor, " n"],
    length: Int64[Tensor, " n"],
    n_in: int,
    n_out: int,
    flip: Tensor | None = None,
) -> Float[Tensor, "n n_out n_in"]:
    """Rows of weights of an antialiased bilinear resize of ``start``...``start + length``.

    A triangle about each half-pixel centre, as wide as the reduction, over the crop's pixels only.
    float64, CPU; mirrored where ``flip`` is true.
    """
    target = target_pixels(n_out, flip)
    scale = length[:, None].double() / n_out
    center = (target + 0.5) * scale + start[:, None]
    pixel = torch.arange(n_in, dtype=torch.float64) + 0.5
    distance = (pixel - center[:, :, None]).abs() / scale.clamp(min=1)[:, :, None]
    inside = (pixel > start[:, None]) & (pixel < (start + length)[:, None])
    weights = (1 - distance).clamp(min=0) * inside[:, None, :]
    return weights / weights.sum(dim=2, keepdim=True)
