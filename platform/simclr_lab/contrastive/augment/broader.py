"""What Appendix B.2 adds, with unpublished parameters: equalize, solarize, motion blur."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as torchvision

from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, uniform


def _pick(
    changed: Float[Tensor, "n c h w"], images: Float[Tensor, "n c h w"], wanted: Bool[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """The changed image where it is wanted, the image itself elsewhere."""
    return torch.where(wanted.to(images.device)[:, None, None, None], changed, images)


@dataclass(frozen=True)
class Equalize:
    """Each channel's histogram made flat, in 256 levels, with a probability per image."""

    probability: float = 0.2

    def __call__(self, images: Float[Tensor, "n 3 h w"], draws: Draws) -> Float[Tensor, "n 3 h w"]:
        """Equalize the drawn images."""
        levels = (images.clamp(0, 1) * 255).round().to(torch.uint8)
        equalized = torchvision.equalize(levels).to(images.dtype) / 255
        wanted = uniform(derive(draws.seeds, "equalize"), 0) < self.probability
        return _pick(equalized, images, wanted)


@dataclass(frozen=True)
class Solarize:
    """Values from a threshold up inverted, with a probability per image."""

    probability: float = 0.2
    threshold: float = 0.5

    def __call__(self, images: Float[Tensor, "n c h w"], draws: Draws) -> Float[Tensor, "n c h w"]:
        """Solarize the drawn images."""
        wanted = uniform(derive(draws.seeds, "solarize"), 0) < self.probability
        return _pick(torch.where(images >= self.threshold, 1 - images, images), images, wanted)


def line_kernels(angles: Float[Tensor, " n"], width: int) -> Float[Tensor, "n width width"]:
    """Averages along a line through the centre at each angle (radians).

    A tap weighs what a triangle of one pixel's half width about the line leaves of it.
    """
    offset = torch.arange(width, dtype=angles.dtype) - width // 2
    down, right = torch.meshgrid(offset, offset, indexing="ij")
    cos, sin = torch.cos(angles)[:, None, None], torch.sin(angles)[:, None, None]
    across = (right * sin + down * cos).abs()
    along = (right * cos - down * sin).abs()
    weights = (1 - across).clamp(min=0) * (along <= width / 2)
    return weights / weights.sum(dim=(1, 2), keepdim=True)


def motion_blur(
    images: Float[Tensor, "n c h w"], kernels: Float[Tensor, "n width width"]
) -> Float[Tensor, "n c h w"]:
    """Convolve each image with its own kernel; the border is mirrored."""
    n, c, h, w = images.shape
    width = kernels.shape[1]
    x = functional.pad(images, [width // 2] * 4, mode="reflect")
    weight = kernels.repeat_interleave(c, dim=0)[:, None]
    return functional.conv2d(x.reshape(1, n * c, *x.shape[2:]), weight, groups=n * c).view(
        n, c, h, w
    )


@dataclass(frozen=True)
class MotionBlur:
    """A line of a tenth of the image (three pixels or more) at a uniform angle."""

    probability: float = 0.2

    def __call__(self, images: Float[Tensor, "n c h w"], draws: Draws) -> Float[Tensor, "n c h w"]:
        """Blur the drawn images."""
        seeds = derive(draws.seeds, "motion blur")
        width = max(3, 2 * (images.shape[2] // 10 // 2) + 1)
        kernels = line_kernels(math.pi * uniform(seeds, 1), width).to(images)
        return _pick(motion_blur(images, kernels), images, uniform(seeds, 0) < self.probability)
