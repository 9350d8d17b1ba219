"""Rotation by 0, 90, 180 or 270 degrees (Fig. 4, Table 3, spec 1.7)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, integers

QUARTERS = 4


@dataclass(frozen=True)
class Rotate:
    """A uniform number of quarter turns, counter-clockwise; images must be square."""

    def quarters(self, draws: Draws) -> Int64[Tensor, " n"]:
        """Quarter turns of each image, 0 to 3."""
        return integers(derive(draws.seeds, "rotate"), 0, QUARTERS)

    def __call__(self, images: Float[Tensor, "n c s s"], draws: Draws) -> Float[Tensor, "n c s s"]:
        """Turn each image."""
        turns = self.quarters(draws).to(images.device)
        out = images.clone()
        for quarter in range(1, QUARTERS):
            where = torch.nonzero(turns == quarter)[:, 0]
            out[where] = torch.rot90(images[where], quarter, dims=(2, 3))
        return out
