"""Gaussian noise as a blend: (1 - w) x + w e with e from N(0, 1) (Fig. 4, spec 1.7)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, uniform

Law = Literal["uniform", "constant"]


def normal(seeds: Int64[Tensor, " n"], count: int) -> Float64[Tensor, "n count"]:
    """Independent N(0, 1) numbers by Box and Muller, a function of each image's seed alone."""
    each = (seeds[:, None] + torch.arange(count) * 0x632BE59BD9B4E019).flatten()
    radius = (-2 * torch.log1p(-uniform(each, 0))).sqrt()
    return (radius * torch.cos(2 * math.pi * uniform(each, 1))).view(len(seeds), count)


@dataclass(frozen=True)
class GaussianNoise:
    """Blend with noise, independent over pixels and channels, clipped to [0, 1].

    The paper's example has w = 0.1155; the law of w is not published: ``uniform`` up to
    ``level_max``, or ``constant`` at it.
    """

    probability: float = 1.0
    level_max: float = 0.2
    law: Law = "uniform"

    def levels(self, draws: Draws) -> Float64[Tensor, " n"]:
        """W of each image; 0 where it is left alone."""
        seeds = derive(draws.seeds, "noise level")
        share = uniform(seeds, 1) if self.law == "uniform" else torch.ones_like(seeds).double()
        drawn = share * self.level_max
        return torch.where(uniform(seeds, 0) < self.probability, drawn, 0.0)

    def __call__(self, images: Float[Tensor, "n c h w"], draws: Draws) -> Float[Tensor, "n c h w"]:
        """Blend each image with noise of its own."""
        noise = normal(derive(draws.seeds, "noise"), images[0].numel()).to(images)
        level = self.levels(draws).to(images)[:, None, None, None]
        return ((1 - level) * images + level * noise.view_as(images)).clamp(0, 1)
