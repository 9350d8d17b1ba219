"""Features on one scale, so that one grid of strengths fits every encoder."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def standardizer(
    fit: Float[Tensor, "n d"],
) -> Callable[[Float[Tensor, "m d"]], Float[Tensor, "m d"]]:
    """Subtract the fitted mean and divide by the fitted deviation; constant features become 0."""
    std, mean = torch.std_mean(fit.double(), dim=0, correction=0)
    scale = torch.where(std > 1e-12, 1 / std.clamp(min=1e-12), torch.zeros_like(std))
    return lambda features: ((features.double() - mean) * scale).to(features.dtype)
