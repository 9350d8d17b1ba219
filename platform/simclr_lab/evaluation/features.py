"""Representations h, and projections z, of images by a frozen model (App. B.6, B.8)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from simclr_lab.evaluation.resizing import centred

CHUNK = 1000
Images = Float[Tensor, "n c h w"] | UInt8[Tensor, "n c h w"]


@dataclass(frozen=True)
class Frozen:
    """An encoder, and its head where z is asked for, as they are used to judge them.

    Args:
        encoder: images in [0, 1] -> h.
        head: h -> z, or None.
        precision: ``float32``, ``bfloat16`` (autocast) or ``float64``.
        channels_last: memory layout of the images.
        device: where the model is.
        size: side in pixels of what the encoder sees; uint8 images of another size are resized to
            it (``centred``). None takes them as they are.
    """

    encoder: nn.Module
    head: nn.Module | None = None
    precision: str = "float32"
    channels_last: bool = False
    device: torch.device | str = "cpu"
    size: int | None = None

    def h(
        self, images: Float[Tensor, "n c h w"] | UInt8[Tensor, "n c h w"]
    ) -> Float[Tensor, "n d"]:
        """H of every image, float32 on the CPU; uint8 images are resized and divided by 255.

        The model runs in evaluation mode and is left as it was found: mode, weights and running
        statistics.
        """
        return self._embed(images, [self.encoder])

    def z(
        self, images: Float[Tensor, "n c h w"] | UInt8[Tensor, "n c h w"]
    ) -> Float[Tensor, "n p"]:
        """Z of every image, as ``h`` otherwise. Raises ValueError where there is no head."""
        if self.head is None:
            raise ValueError("z needs a projection head; only the encoder was given")
        return self._embed(images, [self.encoder, self.head])

    @torch.no_grad()
    def _embed(self, images: Tensor, modules: list[nn.Module]) -> Tensor:
        parts = []
        with _evaluation_mode(modules):
            for chunk in torch.split(images, CHUNK):
                if self.size is not None and chunk.dtype == torch.uint8:
                    chunk = centred(chunk, self.size)
                parts.append(self.forward(chunk, modules).float().cpu())
        return torch.cat(parts)

    def forward(self, images: Tensor, modules: Sequence[nn.Module]) -> Tensor:
        """Images through the modules in their present mode, on the device and as precise as said.

        uint8 images are divided by 255.
        """
        device = torch.device(self.device)
        dtype = torch.float64 if self.precision == "float64" else torch.float32
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        x = images.to(device).to(dtype)
        x = x / 255 if images.dtype == torch.uint8 else x
        x = x.contiguous(memory_format=layout)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            for module in modules:
                x = module(x)
        return x


@contextmanager
def _evaluation_mode(modules: list[nn.Module]) -> Iterator[None]:
    before = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module, training in zip(modules, before, strict=True):
            module.train(training)
