"""Gaussian blur (App. A, spec 1.5): a tenth of the image wide."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, uniform

SigmaScope = Literal["image", "batch"]
Padding = Literal["zeros", "reflect"]


def taps(size: int) -> int:
    """Width of the kernel for images ``size`` pixels high: 3 at 32, 23 at 224."""
    return 2 * (size // 10 // 2) + 1


def gaussian_kernels(sigma: Float[Tensor, " n"], width: int) -> Float[Tensor, "n width"]:
    """Normalised Gaussian weights, one row per sigma (in pixels)."""
    x = torch.arange(width, dtype=sigma.dtype, device=sigma.device) - width // 2
    weights = torch.exp(-x.square() / (2 * sigma[:, None].square()))
    return weights / weights.sum(dim=1, keepdim=True)


def blur(
    images: Float[Tensor, "n c h w"],
    kernels: Float[Tensor, "n width"],
    padding: Padding = "zeros",
) -> Float[Tensor, "n c h w"]:
    """Convolve each image with its own kernel along rows, then columns.

    Outside are zeros, as in the official code, or the mirrored image, as in torchvision.
    """
    n, c, h, w = images.shape
    width = kernels.shape[1]
    weight = kernels.repeat_interleave(c, dim=0)[:, None, None, :]
    x = images.reshape(1, n * c, h, w)
    radius = width // 2
    if padding == "reflect":
        x = functional.pad(x, (radius, radius, radius, radius), mode="reflect")
        radius = 0
    x = functional.conv2d(x, weight, padding=(0, radius), groups=n * c)
    x = functional.conv2d(x, weight.transpose(2, 3), padding=(radius, 0), groups=n * c)
    return x.view(n, c, h, w)


@dataclass(frozen=True)
class GaussianBlur:
    """Blur with a probability per image.

    ``sigma_scope`` says who shares a sigma: the official code draws one for a whole batch of one
    view, the paper reads as one per image. Without a batch seed every image is its own batch.
    """

    probability: float = 0.5
    sigma_min: float = 0.1
    sigma_max: float = 2.0
    sigma_scope: SigmaScope = "batch"
    padding: Padding = "zeros"

    def sigmas(self, draws: Draws) -> Tensor:
        """Sigma of each image, float64 of shape (n,)."""
        seeds = draws.seeds
        if self.sigma_scope == "batch" and draws.batch_seed is not None:
            seeds = torch.full_like(seeds, draws.batch_seed)
        u = uniform(derive(seeds, "sigma"), 0)
        return self.sigma_min + u * (self.sigma_max - self.sigma_min)

    def __call__(self, images: Float[Tensor, "n c h w"], draws: Draws) -> Float[Tensor, "n c h w"]:
        """Blur the drawn images; what the resize overshot is clipped first (spec 1.1)."""
        images = images.clamp(0, 1)
        wanted = uniform(derive(draws.seeds, "blur"), 0) < self.probability
        where = torch.nonzero(wanted)[:, 0]
        if len(where) == 0:
            return images
        kernels = gaussian_kernels(self.sigmas(draws)[where], taps(images.shape[2]))
        out = images.clone()
        there = where.to(images.device)
        out[there] = blur(images[there], kernels.to(images), self.padding)
        return out
