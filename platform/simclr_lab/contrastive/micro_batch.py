"""The gradient of a whole batch's loss with the memory of a part of it (Gao et al. 2021).

Contrastive losses couple all images of a batch, so gradients of parts do not add up. But the loss
sees the images only through z: embed everything without a graph, take the gradient at z, then embed
part by part again and let that gradient flow. With batch norm over groups that lie within a part,
the result is the direct gradient. n: local images, p: width of z.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from simclr_lab.contrastive.batch_norm import frozen_statistics, pooled_statistics


def backward_in_parts(
    model: nn.Module,
    view_a: Float[Tensor, "n c h w"],
    view_b: Float[Tensor, "n c h w"],
    *,
    project: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    part_images: int,
) -> tuple[Float[Tensor, ""], Float[Tensor, "n p"], Float[Tensor, "n p"]]:
    """Accumulate the gradient of ``loss`` into ``model``; returns (loss, z_a, z_b), detached.

    Args:
        model: what holds the parameters, perhaps wrapped for several workers.
        view_a: the local images' first views.
        view_b: the local images' second views.
        project: z of a batch that holds both views of its images, first views first.
        loss: of all local z; it gathers those of other workers itself.
        part_images: images in a part; a multiple of batch norm's groups.

    Raises ValueError for parts of unequal size: their gradient would be exact, but running
    statistics weigh every part alike.
    """
    if len(view_a) % part_images:
        raise ValueError(
            f"part_images is {part_images}; allowed: divisors of the {len(view_a)} local images, "
            "since running statistics weigh every part alike"
        )
    parts = list(
        zip(torch.split(view_a, part_images), torch.split(view_b, part_images), strict=True)
    )
    with torch.no_grad(), frozen_statistics(model):
        projected = [project(torch.cat(part)).chunk(2) for part in parts]
    z_a, z_b = (torch.cat(side).requires_grad_() for side in zip(*projected, strict=True))
    value = loss(z_a, z_b)
    at_a, at_b = torch.autograd.grad(value, (z_a, z_b))
    gradients = zip(torch.split(at_a, part_images), torch.split(at_b, part_images), strict=True)
    with pooled_statistics(model):
        for index, (part, gradient) in enumerate(zip(parts, gradients, strict=True)):
            with _without_averaging(model, last=index == len(parts) - 1):
                torch.autograd.backward(project(torch.cat(part)), torch.cat(gradient))
    return value.detach(), z_a.detach(), z_b.detach()


def _without_averaging(model: nn.Module, *, last: bool) -> AbstractContextManager[None]:
    """Workers average their gradients once, with the last part's backward."""
    if last or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    return model.no_sync()
