"""Projection heads g (Sec. 4.2, Fig. 8): none, linear, or nonlinear of any depth."""

import torch
from torch import nn

from simclr_lab.contrastive.batch_norm import GroupBatchNorm

INITIAL_STD = 0.01


def projection_head(
    in_dim: int,
    out_dim: int = 128,
    depth: int = 2,
    *,
    group_images: int | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """A head of ``depth`` dense layers: 0 none (z = h), 1 linear, 2 the paper's.

    Dense layers have no bias since batch norm follows each; hidden layers are as wide as h; the
    last batch norm only scales (spec 4). Weights are N(0, 0.01^2), drawn from ``generator``.
    """
    if depth < 0:
        raise ValueError(f"depth is {depth}; allowed: 0 or more dense layers")
    if depth == 0:
        return nn.Identity()
    layers: list[nn.Module] = []
    for _ in range(depth - 1):
        layers += [
            _dense(in_dim, in_dim, generator),
            GroupBatchNorm(in_dim, group_images=group_images),
            nn.ReLU(),
        ]
    layers += [
        _dense(in_dim, out_dim, generator),
        GroupBatchNorm(out_dim, group_images=group_images, bias=False),
    ]
    return nn.Sequential(*layers)


def _dense(in_dim: int, out_dim: int, generator: torch.Generator | None) -> nn.Linear:
    layer = nn.Linear(in_dim, out_dim, bias=False)
    with torch.no_grad():
        layer.weight.normal_(0, INITIAL_STD, generator=generator)
    return layer
