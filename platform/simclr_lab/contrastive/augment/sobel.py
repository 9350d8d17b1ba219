"""Sobel filtering: the sum of both gradients of a channel, scaled to [0, 1] (Fig. 4)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, uniform

Scaling = Literal["min_max", "fixed"]
KERNEL = ((-2.0, -2.0, 0.0), (-2.0, 0.0, 2.0), (0.0, 2.0, 2.0))
"""Horizontal plus vertical Sobel kernel, as fitted to the paper's example image."""

REACH = 6.0
"""Largest absolute value that the kernel makes of images in [0, 1]."""


def sobel(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Dx + dy of each channel, mirrored at the border; not yet stretched."""
    c = images.shape[1]
    kernel = images.new_tensor(KERNEL).expand(c, 1, 3, 3)
    return functional.conv2d(functional.pad(images, (1, 1, 1, 1), mode="reflect"), kernel, groups=c)


def stretch(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Each image's smallest value to 0 and its largest to 1; a flat image becomes 0."""
    low = images.amin(dim=(1, 2, 3), keepdim=True)
    reach = images.amax(dim=(1, 2, 3), keepdim=True) - low
    return (images - low) / torch.where(reach > 0, reach, 1)


def shift(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """All images alike: -6 to 0, 6 to 1; no gradient becomes a half."""
    return (0.5 + images / (2 * REACH)).clamp(0, 1)


@dataclass(frozen=True)
class Sobel:
    """The filter with a probability per image.

    The paper's example is stretched to its own range, ``min_max``; whether training was is not
    published. ``fixed`` keeps strong gradients apart from weak ones.
    """

    probability: float = 1.0
    scaling: Scaling = "min_max"

    def wanted(self, draws: Draws) -> Bool[Tensor, " n"]:
        """Which images are filtered."""
        return uniform(derive(draws.seeds, "sobel"), 0) < self.probability

    def __call__(self, images: Float[Tensor, "n c h w"], draws: Draws) -> Float[Tensor, "n c h w"]:
        """Filter the drawn images."""
        wanted = self.wanted(draws)
        filtered = (stretch if self.scaling == "min_max" else shift)(sobel(images))
        return torch.where(wanted.to(images.device)[:, None, None, None], filtered, images)
