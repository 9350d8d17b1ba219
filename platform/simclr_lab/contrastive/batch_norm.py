"""Batch norm over groups of images of the global batch, across workers (Sec. 2.2, spec 5).

Whose statistics normalise whom is science: it is set by ``group_images``, never by how many workers
happen to share the work. A batch is [view a of n images; view b of the same images].
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from simclr_lab.contrastive.gather import rank, world_size

VIEWS = 2


@dataclass(frozen=True)
class Groups:
    """How this worker's n images lie in the groups.

    ``local`` groups of ``images`` local images each; each group spans ``span`` consecutive workers.
    """

    local: int
    images: int
    span: int

    @classmethod
    def of(cls, local_images: int, group_images: int | None, workers: int) -> "Groups":
        """Raises ValueError where neither divides the other, or the global batch is not divided."""
        group = group_images or local_images * workers
        if local_images % group == 0:
            return cls(local_images // group, group, 1)
        if group % local_images == 0 and workers % (group // local_images) == 0:
            return cls(1, local_images, group // local_images)
        raise ValueError(
            f"batch norm over groups of {group} images with {local_images} images on each of "
            f"{workers} workers; allowed: groups that hold, or are held by, whole workers"
        )


def _split(x: Tensor, groups: Groups) -> Tensor:
    """(2n, c, ...) -> (views, local groups, images, c, pixels)."""
    return x.reshape(VIEWS, groups.local, groups.images, x.shape[1], -1)


def _everyones(part: Tensor) -> Tensor:
    """(workers, ...) from every worker's equally shaped part."""
    parts = [torch.empty_like(part) for _ in range(world_size())]
    dist.all_gather(parts, part.contiguous())
    return torch.stack(parts)


def _own_span(everyones: Tensor, span: int) -> Tensor:
    first = rank() // span * span
    return everyones[first : first + span]


class _GroupNorm(torch.autograd.Function):
    """Normalise by group statistics; the backward knows that they depend on every row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: Groups, eps: float):  # type: ignore[no-untyped-def]
        rows = _split(x if x.dtype == torch.float64 else x.float(), groups)
        axes = (0, 2, 4)
        var, mean = torch.var_mean(rows, dim=axes, correction=0)
        if world_size() > 1:
            every = _everyones(torch.stack([mean, var]))
            span = _own_span(every, groups.span)
            mean = span[:, 0].mean(dim=0)
            var = span[:, 1].mean(dim=0) + (span[:, 0] - mean).square().mean(dim=0)
            means, variances = every[:, 0].flatten(0, 1), every[:, 1].flatten(0, 1)
        else:
            means, variances = mean, var
        pooled_mean = means.mean(dim=0)
        pooled_var = variances.mean(dim=0) + (means - pooled_mean).square().mean(dim=0)
        scale = (var + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.groups = groups
        ctx.mark_non_differentiable(pooled_mean, pooled_var)
        center, factor = mean[:, None, :, None], (scale * weight)[:, None, :, None]
        y = (rows - center) * factor + bias[:, None]
        return y.reshape(x.shape).to(x.dtype), pooled_mean, pooled_var

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor):  # type: ignore[no-untyped-def]
        x, weight, mean, scale = ctx.saved_tensors
        groups = ctx.groups
        dy, rows = (
            _split(t if t.dtype == torch.float64 else t.float(), groups) for t in (gradients[0], x)
        )
        wide = (slice(None), None, slice(None), None)
        unit = (rows - mean[wide]) * scale[wide]
        axes = (0, 2, 4)
        count = dy.shape[0] * dy.shape[2] * dy.shape[4]
        sum_dy, sum_dy_unit = dy.sum(dim=axes), (dy * unit).sum(dim=axes)
        means = torch.stack([sum_dy, sum_dy_unit]) / count
        if groups.span > 1:
            means = _own_span(_everyones(means), groups.span).mean(dim=0)
        dx = (dy - means[0][wide] - unit * means[1][wide]) * (scale * weight)[wide]
        dx = dx.reshape(x.shape).to(x.dtype)
        return dx, sum_dy_unit.sum(dim=0), sum_dy.sum(dim=0), None, None


class GroupBatchNorm(nn.Module):
    """Batch norm for (2n, c) or (2n, c, h, w) over groups of the global batch.

    Running statistics are those of the whole global batch; the running variance is the biased one,
    on every device.

    Args:
        num_features: channels c.
        group_images: images of the global batch in a group, both views of each; None for all.
        bias: whether there is an additive parameter.
        momentum: weight of the newest batch in the running statistics.
        eps: added to the variance.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        *,
        group_images: int | None = None,
        bias: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.num_features, self.group_images = num_features, group_images
        self.momentum, self.eps = momentum, eps
        # (): statistics move at every batch; a list collects them; None leaves them alone.
        self.collected: tuple[()] | list[tuple[Tensor, Tensor]] | None = ()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features)) if bias else None
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; in training mode also move the running statistics."""
        if not self.training:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        groups = Groups.of(len(x) // VIEWS, self.group_images, world_size())
        if groups.local == groups.span == world_size():
            return self._whole_batch(x)
        bias = torch.zeros_like(self.weight) if self.bias is None else self.bias
        y, mean, var = _GroupNorm.apply(x, self.weight, bias, groups, self.eps)
        self._move(mean, var)
        return y  # type: ignore[no-any-return]

    def _whole_batch(self, x: Tensor) -> Tensor:
        """One worker, one group: torch's own kernel, whose statistics are caught on the way."""
        mean, var = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        y = functional.batch_norm(
            x, mean, var, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps
        )
        count = x.numel() // self.num_features
        self._move(mean, var * ((count - 1) / count))  # torch keeps the unbiased variance
        return y

    def move_by_collected(self) -> None:
        """Move the running statistics once, by what the parts of one batch were collected to."""
        if self.collected:
            means, variances = (torch.stack(each) for each in zip(*self.collected, strict=True))
            mean = means.mean(dim=0)
            spread = (means - mean).square().mean(dim=0)
            self.collected = ()
            self._move(mean, variances.mean(dim=0) + spread)

    @torch.no_grad()
    def _move(self, mean: Tensor, var: Tensor) -> None:
        if self.collected is None:
            return
        if isinstance(self.collected, list):
            self.collected.append((mean.detach(), var.detach()))
            return
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(var.to(self.running_var.dtype), self.momentum)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{self.num_features}, group_images={self.group_images}"


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Inside, batch norms leave their running statistics alone; afterwards all is as before."""
    norms = [module for module in model.modules() if isinstance(module, GroupBatchNorm)]
    before = [norm.collected for norm in norms]
    for norm in norms:
        norm.collected = None
    try:
        yield
    finally:
        for norm, collected in zip(norms, before, strict=True):
            norm.collected = collected


@contextmanager
def pooled_statistics(model: nn.Module) -> Iterator[None]:
    """Inside, batch norms collect statistics; at the end each moves once, by the pooled ones."""
    norms = [module for module in model.modules() if isinstance(module, GroupBatchNorm)]
    for norm in norms:
        norm.collected = []
    try:
        yield
        for norm in norms:
            norm.move_by_collected()
    finally:
        for norm in norms:
            norm.collected = ()
