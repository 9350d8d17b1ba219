"""Images and features with their labels, in the three splits that evaluations know.

Labels are (n,), or 0/1 of shape (n, k) where an image may have several of k classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Labelled:
    """Features (n, d) with their labels."""

    features: Float[Tensor, "n d"]
    labels: Int64[Tensor, "n *k"]

    def __add__(self, other: "Labelled") -> "Labelled":
        return Labelled(
            torch.cat([self.features, other.features]), torch.cat([self.labels, other.labels])
        )


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 (n, c, h, w) with their labels."""

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, "n *k"]

    def __add__(self, other: "LabelledImages") -> "LabelledImages":
        return LabelledImages(
            torch.cat([self.images, other.images]), torch.cat([self.labels, other.labels])
        )


@dataclass(frozen=True)
class LabelledSplits:
    """What evaluations may see; ``test`` is None where none of them reads it."""

    fit: LabelledImages
    val: LabelledImages
    test: LabelledImages | None = None

    def judged(self) -> Iterator[tuple[str, LabelledImages]]:
        """``val``, and ``test`` where it may be read."""
        yield "val", self.val
        if self.test is not None:
            yield "test", self.test
