"""Sobel filtering: the sum of both gradients of a channel, stretched to [0, 1] (Fig. 4)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, uniform

KERNEL = ((-2.0, -2.0, 0.0), (-2.0, 0.0, 2.0), (0.0, 2.0, 2.0))
"""Horizontal plus vertical Sobel kernel, as fitted to the paper's example image."""


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


@dataclass(frozen=True)
class Sobel:
    """The filter with a probability per image; stretching over the image is our reading."""

    probability: float = 1.0

    def wanted(self, draws: Draws) -> Bool[Tensor, " n"]:
        """Which images are filtered."""
        return uniform(derive(draws.seeds, "sobel"), 0) < self.probability

    def __call__(self, images: Float[Tensor, "n c h w"], draws: Draws) -> Float[Tensor, "n c h w"]:
        """Filter the drawn images."""
        wanted = self.wanted(draws)
        filtered = stretch(sobel(images))
        return torch.where(wanted.to(images.device)[:, None, None, None], filtered, images)
