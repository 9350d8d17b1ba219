"""Rotation by 0, 90, 180 or 270 degrees (Fig. 4, Table 3, spec 1.7)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, integers

QUARTERS = 4


@dataclass(frozen=True)
class Rotate:
    """A uniform number of quarter turns, counter-clockwise; images must be square."""

    def __call__(self, images: Float[Tensor, "n c s s"], draws: Draws) -> Float[Tensor, "n c s s"]:
        """Turn each image."""
        turns = integers(derive(draws.seeds, "rotate"), 0, QUARTERS).to(images.device)
        out = images.clone()
        for quarter in range(1, QUARTERS):
            where = torch.nonzero(turns == quarter)[:, 0]
            out[where] = torch.rot90(images[where], quarter, dims=(2, 3))
        return out
