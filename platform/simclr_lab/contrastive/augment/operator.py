"""What an operator is: images and draws in, images out."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Where an operator's randomness comes from, and the size it works toward.

    ``seeds`` holds one seed per image; ``batch_seed`` one number that the whole global batch
    shares, or None; ``size`` is the side of the resulting views in pixels.
    """

    seeds: Int64[Tensor, " n"]
    batch_seed: int | None
    size: int


@runtime_checkable
class Operator(Protocol):
    """A transformation of whole batches with parameters drawn per image on the CPU."""

    def __call__(self, images: Float[Tensor, "n c h w"], draws: Draws) -> Float[Tensor, "n c s t"]:
        """Transform each image by its own draws, never by its neighbours'."""
        ...
