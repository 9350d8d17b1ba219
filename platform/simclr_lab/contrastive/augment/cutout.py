"""Cutout: one square of half the image's side, filled with the image's mean (Fig. 4, spec 1.7)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, integers, uniform

Position = Literal["inside", "anywhere"]


def cut_out(
    images: Float[Tensor, "n c h w"],
    top: Int64[Tensor, " n"],
    left: Int64[Tensor, " n"],
    side: int,
) -> Float[Tensor, "n c h w"]:
    """Fill each image's square, as far as it lies on the image, with the mean of all its values."""
    n, _, h, w = images.shape
    rows, columns = torch.arange(h, device=images.device), torch.arange(w, device=images.device)
    in_rows = (rows >= top[:, None]) & (rows < top[:, None] + side)
    in_columns = (columns >= left[:, None]) & (columns < left[:, None] + side)
    inside = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
    return torch.where(inside, images.mean(dim=(1, 2, 3)).view(n, 1, 1, 1), images)


@dataclass(frozen=True)
class Cutout:
    """A square with a probability per image.

    Side and fill are those of the paper's example image; the law of the position is not published:
    uniform and wholly ``inside``, or the centre ``anywhere`` on the image and the square clipped.
    """

    probability: float = 1.0
    position: Position = "inside"

    def __call__(self, images: Float[Tensor, "n c h w"], draws: Draws) -> Float[Tensor, "n c h w"]:
        """Cut the drawn images."""
        seeds = derive(draws.seeds, "cutout")
        h, w = images.shape[2:]
        side = min(h, w) // 2
        top, left = (self._starts(seeds, axis, n, side) for axis, n in ((1, h), (2, w)))
        wanted = (uniform(seeds, 0) < self.probability).to(images.device)
        cut = cut_out(images, top.to(images.device), left.to(images.device), side)
        return torch.where(wanted[:, None, None, None], cut, images)

    def _starts(self, seeds: Tensor, counter: int, length: int, side: int) -> Int64[Tensor, " n"]:
        """First pixel of each square along one axis; negative before the border."""
        if self.position == "inside":
            return integers(seeds, counter, length - side + 1)
        return integers(seeds, counter, length) - side // 2
