"""Whole images at the size that an encoder was trained for (App. B.5, B.8, spec 1.9)."""

import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

SMALL = 32
"""Images up to this size are fed whole, as in the official code."""

FINETUNE_MARGIN = 256 / 224
"""Fine-tuned networks judge the centre of an image this much larger than what they see."""

_CHUNK = 1000


def centred(
    images: UInt8[Tensor, "n c h w"], size: int, margin: float = 1.0
) -> UInt8[Tensor, "n c size size"]:
    """Shorter side to ``margin * size`` pixels by antialiased bicubic resampling, centre cropped.

    There is no margin at sizes up to ``SMALL``.
    """
    side = round(size * margin) if size > SMALL else size
    if images.shape[2] == images.shape[3] == size == side:
        return images
    parts = [
        functional.center_crop(
            functional.resize(part, [side], InterpolationMode.BICUBIC, antialias=True), [size, size]
        )
        for part in torch.split(images, _CHUNK)
    ]
    return torch.cat(parts)
