"""One optimisation step: two views in, one update of the weights out (Algorithm 1)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from simclr_lab.contrastive.micro_batch import backward_in_parts


def training_step(
    model: nn.Module,
    view_a: Tensor,
    view_b: Tensor,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    learning_rate: float,
    measures: Sequence[Callable[[Tensor, Tensor], Tensor]] = (),
    precision: str,
    channels_last: bool,
    micro_batch: int | None = None,
) -> Tensor:
    """Update ``model`` in place from the local images' views, each (n, c, h, w).

    Both views go through one forward, so that batch norm sees them together; ``micro_batch`` images
    at a time, or all. Returns the detached (loss, each of ``measures``), float64, of this worker's
    images; their mean over workers is the global batch's value.
    """

    def project(images: Tensor) -> Tensor:
        if channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            z: Tensor = model(images)[1]
        return z

    optimizer.zero_grad(set_to_none=True)
    if micro_batch is not None and micro_batch < len(view_a):
        value, z_a, z_b = backward_in_parts(
            model, view_a, view_b, project=project, loss=loss, part_images=micro_batch
        )
    else:
        z_a, z_b = project(torch.cat([view_a, view_b])).chunk(2)
        value = loss(z_a, z_b)
        torch.autograd.backward(value)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    with torch.no_grad():
        pair = z_a.detach(), z_b.detach()
        values = [value.detach(), *(measure(*pair) for measure in measures)]
        return torch.stack([each.double() for each in values])
