"""Representations h of un-augmented images by a frozen encoder (App. B.6, B.8)."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

CHUNK = 1000


@torch.no_grad()
def extract_features(
    encoder: nn.Module,
    images: UInt8[Tensor, "n c h w"],
    *,
    precision: str = "float32",
    channels_last: bool = False,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "n d"]:
    """H of every image, float32 on the CPU.

    The encoder runs in evaluation mode and is left as it was found: mode, weights and running
    statistics.

    Args:
        encoder: images in [0, 1] -> h.
        images: whole images, no crop, no normalisation.
        precision: ``float32``, ``bfloat16`` (autocast) or ``float64``.
        channels_last: memory layout of the images.
        device: where the encoder is.
    """
    device = torch.device(device)
    dtype = torch.float64 if precision == "float64" else torch.float32
    layout = torch.channels_last if channels_last else torch.contiguous_format
    was_training = encoder.training
    encoder.eval()
    parts = []
    for chunk in torch.split(images, CHUNK):
        x = (chunk.to(device).to(dtype) / 255).contiguous(memory_format=layout)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            h = encoder(x)
        parts.append(h.float().cpu())
    encoder.train(was_training)
    return torch.cat(parts)
