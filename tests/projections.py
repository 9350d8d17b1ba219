"""Pairs of projections that several tests use."""

from typing import Any

import torch
from golden_values import golden
from torch import Tensor


def random_pair(n: int, p: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2, n, p, generator=generator, dtype=torch.float64)
    return z[0], z[0] + 0.7 * z[1]


def golden_pairs() -> list[tuple[dict[str, Any], Tensor, Tensor]]:
    content = golden("ntxent")
    pairs = []
    for case in [*content["cases"], *content["paired_cases"]]:
        n, d = case["N"], case["D"]
        i = torch.arange(n * d if "eps" in case else 2 * n * d, dtype=torch.float64)
        z = torch.sin(0.7 * i + 0.3 * torch.cos(1.3 * i)).view(-1, d)
        if "eps" in case:
            noise = torch.cos(1.1 * i + torch.sin(0.37 * i)).view(-1, d)
            pairs.append((case, z, z + case["eps"] * noise))
        else:
            pairs.append((case, z[:n], z[n:]))
    return pairs
