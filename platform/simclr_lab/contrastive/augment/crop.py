"""Random crop, resize and flip of whole batches (App. A), with TensorFlow's semantics (spec 1.2-3).

n: images, h w: their size, s: size of the result.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, integers, uniform

ASPECT_MIN, ASPECT_MAX = 3 / 4, 4 / 3
ATTEMPTS = 100
COVERED_MIN = 0.1
"""TensorFlow's sampler also refuses crops that cover less of the image than this."""

_CUBIC = -0.75
_TABLE = 1024
"""TensorFlow's legacy resize looks its weights up in a table of this many fractions."""


@dataclass(frozen=True)
class Boxes:
    """One crop per image, in pixels: int64 tensors of shape (n,)."""

    top: Int64[Tensor, " n"]
    left: Int64[Tensor, " n"]
    height: Int64[Tensor, " n"]
    width: Int64[Tensor, " n"]


def draw_boxes(
    seeds: Int64[Tensor, " n"], height: int, width: int, area_min: float = 0.08
) -> Boxes:
    """TensorFlow's ``sample_distorted_bounding_box``: aspect uniform, side uniform in pixels.

    Up to 100 attempts an image; the whole image where all fail. The last valid offset is never
    drawn, as in TensorFlow.
    """
    n = len(seeds)
    found = torch.zeros(n, dtype=torch.bool)
    zeros = torch.zeros(n, dtype=torch.int64)
    result = [zeros, zeros.clone(), zeros + height, zeros + width]
    pending = torch.arange(n)
    for attempt in range(ATTEMPTS):
        box, valid = _attempt(derive(seeds[pending], attempt), height, width, area_min)
        for values, drawn in zip(result, box, strict=True):
            values[pending[valid]] = drawn[valid]
        found[pending[valid]] = True
        pending = pending[~valid]
        if len(pending) == 0:
            break
    return Boxes(*result)


def _attempt(
    seeds: Tensor, height: int, width: int, area_min: float
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """One attempt per image: (top, left, height, width) and whether it is valid."""
    aspect = ASPECT_MIN + uniform(seeds, 0) * (ASPECT_MAX - ASPECT_MIN)
    whole = float(height * width)
    low, high = area_min * whole, whole
    h_max = (high / aspect).sqrt().round()
    too_wide = (h_max * aspect).round() > width
    fitted = ((width + 0.5 - 1e-7) / aspect).floor()
    fitted = fitted - ((fitted * aspect).round() > width).double()
    h_max = torch.where(too_wide, fitted, h_max).clamp(max=height)
    h_min = torch.minimum((low / aspect).sqrt().round(), h_max)
    h = h_min + integers(seeds, 1, (h_max - h_min).long() + 1)
    w = (h * aspect).round()
    for wrong, change in ((h * w < low, 1), (h * w > high, -1)):
        h = torch.where(wrong, h + change, h)
        w = torch.where(wrong, (h * aspect).round(), w)
    area = h * w
    valid = (area >= max(low, COVERED_MIN * whole)) & (area <= high)
    valid &= (w <= width) & (h <= height) & (w > 0) & (h > 0)
    top = integers(seeds, 2, (height - h).long().clamp(min=1))
    left = integers(seeds, 3, (width - w).long().clamp(min=1))
    return (top, left, h.long(), w.long()), valid


def _cubic(x: Tensor) -> Tensor:
    """The cubic convolution kernel with a = -0.75 at distances x >= 0."""
    a = _CUBIC
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def target_pixels(n_out: int, flip: Tensor | None) -> Tensor:
    """Pixels of the result in their order, or one row per image, reversed where it is mirrored."""
    target = torch.arange(n_out, dtype=torch.float64)
    return target if flip is None else torch.where(flip[:, None], n_out - 1 - target, target)


def resize_weights(
    start: Int64[Tensor, " n"],
    length: Int64[Tensor, " n"],
    n_in: int,
    n_out: int,
    flip: Tensor | None = None,
) -> Float[Tensor, "n n_out n_in"]:
    """Rows of weights that cut ``start``...``start + length`` out of n_in pixels and resize it.

    Legacy bicubic: source = target * length / n_out, no half-pixel shift, no antialias, edges
    clamped at the crop (spec 1.3). Where ``flip`` is true the result is mirrored. float64, CPU.
    """
    target = target_pixels(n_out, flip)
    source = target * (length[:, None].double() / n_out)
    base = source.floor()
    fraction = ((source - base) * _TABLE).round() / _TABLE
    weights = torch.zeros(len(start), n_out, n_in, dtype=torch.float64)
    for tap in (-1, 0, 1, 2):
        inside = (base.long() + tap).clamp(min=0).minimum(length[:, None] - 1)
        column = (start[:, None] + inside)[:, :, None]
        weights.scatter_add_(2, column, _cubic((fraction - tap).abs())[:, :, None])
    return weights


Sampler = Callable[[Tensor, int, int, float], Boxes]
Weights = Callable[..., Tensor]


@dataclass(frozen=True)
class CropResizeFlip:
    """Random crop resized to a square, mirrored with a probability; both in one resampling.

    ``sampler`` and ``weights`` say whose crop and whose resize.
    """

    area_min: float = 0.08
    flip_probability: float = 0.5
    sampler: Sampler = draw_boxes
    weights: Weights = resize_weights

    def __call__(self, images: Float[Tensor, "n c h w"], draws: Draws) -> Float[Tensor, "n c s s"]:
        """Resample each image by its own crop. Values may leave [0, 1]: bicubic overshoots."""
        height, width = images.shape[2:]
        boxes = self.sampler(derive(draws.seeds, "crop"), height, width, self.area_min)
        flip = uniform(derive(draws.seeds, "flip"), 0) < self.flip_probability
        rows = self.weights(boxes.top, boxes.height, height, draws.size)
        columns = self.weights(boxes.left, boxes.width, width, draws.size, flip)
        return resample(images, rows, columns)


@dataclass(frozen=True)
class ResizeWhole:
    """The whole image resized to a square, where a policy has no crop."""

    weights: Weights = resize_weights

    def __call__(self, images: Float[Tensor, "n c h w"], draws: Draws) -> Float[Tensor, "n c s s"]:
        """Resample all images alike; nothing happens to images that have the size already."""
        height, width = images.shape[2:]
        if height == width == draws.size:
            return images
        zero = torch.zeros(len(images), dtype=torch.int64)
        rows = self.weights(zero, zero + height, height, draws.size)
        return resample(images, rows, self.weights(zero, zero + width, width, draws.size))


def resample(
    images: Float[Tensor, "n c h w"],
    rows: Float[Tensor, "n s h"],
    columns: Float[Tensor, "n s w"],
) -> Float[Tensor, "n c s s"]:
    """Separable resampling by one matrix per image and axis, as two batched products."""
    n, c, h, w = images.shape
    size = rows.shape[1]
    rows, columns = rows.to(images), columns.to(images)
    by_row = images.permute(0, 2, 1, 3).reshape(n, h, c * w)
    half = torch.bmm(rows, by_row).view(n, size * c, w)
    whole = torch.bmm(half, columns.transpose(1, 2)).view(n, size, c, size)
    return whole.permute(0, 2, 1, 3).contiguous()
