"""All-gather with a gradient: its backward sums over ranks, as in the official code (spec 2.3)."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_alone: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this worker counts as the only one.

    For what one worker computes by itself: a collective that the others do not join never ends.
    """
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def _together() -> bool:
    return dist.is_available() and dist.is_initialized() and not _alone.get()


def world_size() -> int:
    """Workers in the process group; 1 where there is none."""
    return dist.get_world_size() if _together() else 1


def rank() -> int:
    """This worker's place in the process group; 0 where there is none."""
    return dist.get_rank() if _together() else 0


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        local = local.contiguous()
        ctx.rows = len(local)
        parts = [torch.empty_like(local) for _ in range(world_size())]
        dist.all_gather(parts, local)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # Every rank's loss depends on this rank's rows: their gradients add up.
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        start = rank() * ctx.rows
        return total[start : start + ctx.rows]


def all_gather(local: Tensor) -> Tensor:
    """Rows of all workers in rank order; the input itself where there is one worker.

    Every worker must hold equally many rows.
    """
    if world_size() == 1:
        return local
    gathered: Tensor = _AllGather.apply(local)
    return gathered
