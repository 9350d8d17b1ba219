"""The stream of images that pretraining sees, as positions that any worker can compute.

The stream is one permutation per epoch, end to end; step s takes positions s*B to (s+1)*B - 1.
Batches straddle epochs, as in the official pipeline (spec 6.2).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from simclr_lab.contrastive.draws import generator


@dataclass(frozen=True)
class StreamSlice:
    """One worker's images of one step: int64 tensors of shape (local images,).

    ``indices`` are rows of the pretraining images; ``epochs`` and ``positions`` say where in the
    stream each stands, which is what its random draws depend on.
    """

    indices: Tensor
    epochs: Tensor
    positions: Tensor


class TrainingStream:
    """The order in which ``images`` images are seen, in global batches of ``batch_size``."""

    def __init__(self, images: int, batch_size: int, seed: int) -> None:
        if not 0 < batch_size <= images:
            raise ValueError(f"batch size is {batch_size}; allowed: 1 to {images} images")
        self.images, self.batch_size, self.seed = images, batch_size, seed
        self._order = lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> Tensor:
        return torch.randperm(self.images, generator=generator(self.seed, "order", epoch))

    def slice(self, step: int, rank: int = 0, world_size: int = 1) -> StreamSlice:
        """Worker ``rank``'s contiguous share of step ``step``'s global batch.

        Raises ValueError where the workers do not divide the batch.
        """
        if self.batch_size % world_size:
            raise ValueError(
                f"{world_size} workers cannot share a batch of {self.batch_size} images evenly"
            )
        local = self.batch_size // world_size
        start = step * self.batch_size + rank * local
        stream = torch.arange(start, start + local)
        epochs, positions = stream // self.images, stream % self.images
        parts = [
            self._order(epoch)[positions[epochs == epoch]]
            for epoch in range(int(epochs[0]), int(epochs[-1]) + 1)
        ]
        return StreamSlice(torch.cat(parts), epochs, positions)

    def completed_epochs(self, steps: int) -> int:
        """Epochs whose last image lies strictly before the last of ``steps`` steps' images."""
        return max(0, (steps * self.batch_size - 1) // self.images)
