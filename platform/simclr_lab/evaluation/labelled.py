"""Images and features with their labels, in the three splits that evaluations know."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Labelled:
    """Features (n, d) with their labels (n,)."""

    features: Float[Tensor, "n d"]
    labels: Int64[Tensor, " n"]

    def __add__(self, other: "Labelled") -> "Labelled":
        return Labelled(
            torch.cat([self.features, other.features]), torch.cat([self.labels, other.labels])
        )


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 (n, c, h, w) with their labels (n,)."""

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]


@dataclass(frozen=True)
class LabelledSplits:
    """What evaluations may see; ``test`` is None where none of them reads it."""

    fit: LabelledImages
    val: LabelledImages
    test: LabelledImages | None = None
