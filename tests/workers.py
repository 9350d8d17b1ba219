"""What the processes of distributed tests run; importable by name, so that they can be spawned."""

import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from simclr_lab.contrastive.batch_norm import GroupBatchNorm
from simclr_lab.contrastive.diagnostics import contrastive_accuracy, contrastive_entropy
from simclr_lab.contrastive.gather import all_gather, alone
from simclr_lab.contrastive.losses import margin_triplet, nt_logistic, nt_xent
from simclr_lab.recipe import Recipe
from simclr_lab.training.loop import Pretraining

LOSSES = {"nt_xent": nt_xent, "nt_logistic": nt_logistic, "margin_triplet": margin_triplet}


def share(tensor: Tensor) -> Tensor:
    """This rank's rows."""
    if not dist.is_initialized():
        return tensor
    return tensor.chunk(dist.get_world_size())[dist.get_rank()]


def averaged(tensor: Tensor) -> Tensor:
    """The mean over ranks, as DDP forms it of gradients."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
        tensor /= dist.get_world_size()
    return tensor


def loss_and_gradient(x: Tensor, weight: Tensor, settings: dict[str, Any]) -> dict[str, Tensor]:
    """Loss of the projections x @ weight of both views, and its gradient by weight, over ranks."""
    weight = weight.clone().requires_grad_()
    z_a, z_b = share(x[0]) @ weight, share(x[1]) @ weight
    settings = dict(settings)
    loss = LOSSES[settings.pop("loss", "nt_xent")](z_a, z_b, **settings)
    (gradient,) = torch.autograd.grad(loss, weight)
    both = {"loss": averaged(loss.detach().clone()), "gradient": averaged(gradient)}
    if "temperature" not in settings:
        return both
    common = {"temperature": settings["temperature"], "normalize": settings["normalize"]}
    pair = z_a.detach(), z_b.detach()
    return both | {
        "accuracy": averaged(contrastive_accuracy(*pair, **common)),
        "entropy": averaged(contrastive_entropy(*pair, **common)),
    }


def losses_and_gradients(
    x: Tensor, weight: Tensor, settings: list[dict[str, Any]]
) -> list[dict[str, Tensor]]:
    return [loss_and_gradient(x, weight, each) for each in settings]


def detached_gather(local: Tensor) -> Tensor:
    """Everybody's rows without any gradient."""
    parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, local.contiguous())
    return torch.cat(parts)


def own_slot_gather(local: Tensor) -> Tensor:
    """Everybody's rows, with a gradient through this worker's own."""
    parts = list(detached_gather(local).chunk(dist.get_world_size()))
    parts[dist.get_rank()] = local
    return torch.cat(parts)


def gather_variants(x: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Averaged gradients by ``weight`` of the six ways to gather that are in circulation."""
    module: Any = sys.modules[nt_xent.__module__]
    settings = {"temperature": 0.5, "normalize": True}

    def local_anchors(gather: Callable[[Tensor], Tensor]) -> Tensor:
        module.all_gather = gather
        try:
            return loss_and_gradient(x, weight, settings)["gradient"]
        finally:
            module.all_gather = all_gather

    def whole_loss(gather: Callable[[Tensor], Tensor]) -> Tensor:
        leaf = weight.clone().requires_grad_()
        z_a, z_b = gather(share(x[0]) @ leaf), gather(share(x[1]) @ leaf)
        with alone():
            loss = nt_xent(z_a, z_b, **settings)
        return averaged(torch.autograd.grad(loss, leaf)[0])

    return {
        "local anchors, sum over ranks": local_anchors(all_gather),
        "whole loss, sum over ranks": whole_loss(all_gather),
        "whole loss, own slot": whole_loss(own_slot_gather),
        "local anchors, own slot": local_anchors(own_slot_gather),
        "local anchors, detached": local_anchors(detached_gather),
        "no gather": whole_loss(lambda local: local),
    }


def gathered_alone(local: Tensor) -> Tensor:
    """Rank 0 by itself; would hang if the gather asked for the others."""
    if dist.get_rank() == 0:
        with alone():
            return all_gather(local)
    return local


def batch_norm(x: Tensor, dy: Tensor, group_images: int | None, bias: bool) -> dict[str, Tensor]:
    """One training step of a norm over (2n, c, ...) rows; outputs of this rank, sums over ranks."""
    norm = GroupBatchNorm(x.shape[1], group_images=group_images, bias=bias).to(x.dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 1.5, x.shape[1]))
    rows = torch.cat([share(view) for view in x.chunk(2)]).requires_grad_()
    gradient = torch.cat([share(view) for view in dy.chunk(2)])
    y = norm(rows)
    y.backward(gradient)
    sums = [norm.weight.grad, norm.bias.grad] if bias else [norm.weight.grad]
    if dist.is_initialized():
        for total in sums:
            dist.all_reduce(total)
    return {
        "y": y.detach(),
        "dx": rows.grad,
        "sums": torch.stack([total.detach() for total in sums]),
        "running_mean": norm.running_mean,
        "running_var": norm.running_var,
    }


def batch_norms(cases: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
    return [batch_norm(**case) for case in cases]


class Recorder:
    """Keeps the gradients that the optimizer is given."""

    def __init__(self, run: Pretraining) -> None:
        self.gradients: list[Tensor] = []
        assert run.optimizer is not None
        self.parameters = list(run.model.parameters())
        run.optimizer.register_step_pre_hook(self._keep)

    def _keep(self, *_: Any) -> None:
        self.gradients.append(torch.cat([p.grad.flatten() for p in self.parameters]).clone())


def weights_of(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()]).clone()


def pretrain(recipe: Recipe, seed: int, images: Tensor, steps: int) -> dict[str, Any]:
    """Losses, gradients and weights of the first steps, whatever the number of workers."""
    rows = torch.arange(len(images))
    run = Pretraining(recipe, seed, images, rows, labels=rows % 10)
    recorder, before = Recorder(run), weights_of(run.model)
    run.model.train()
    wrapped = run._wrapped()
    losses = [averaged(run_step(run, wrapped)) for _ in range(steps)]
    buffers = torch.cat([b.flatten().double() for b in run.model.buffers()])
    return {
        "wrapped": isinstance(wrapped, DistributedDataParallel),
        "losses": torch.stack(losses),
        "gradients": torch.stack(recorder.gradients),
        "before": before,
        "weights": weights_of(run.model),
        "buffers": buffers,
    }


def run_step(run: Pretraining, wrapped: nn.Module) -> Tensor:
    done = run._one_step(wrapped)
    run.step += 1
    return done


def pretrain_many(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [pretrain(**case) for case in cases]


def cell_with_a_stop(
    folder: str, recipe: Recipe, ask: int | None
) -> tuple[int, list[tuple[str, int, dict[str, float]]]]:
    """A cell told to leave when rank 0 asks for the ``ask``-th time.

    Returns steps done on this rank, and what rank 0 told: type, step and repeatable metrics.
    """
    from small import small_dataset

    from simclr_lab.training.events import CellEpoch
    from simclr_lab.training.run_cell import CellRun
    from simclr_lab.training.task import CellTask

    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) == ask

    run = CellRun(CellTask("key", recipe, 0, folder), small_dataset(), stop=stop)
    told = [
        (type(event).__name__, event.report.step, dict(event.report.metrics))
        if isinstance(event, CellEpoch)
        else (type(event).__name__, 0, {})
        for event in run.events()
    ]
    repeat = [
        (name, step, {n: v for n, v in metrics.items() if not n.startswith("cost/")})
        for name, step, metrics in told
    ]
    assert run.writes or not asked  # one rank asks for all
    return run.pretraining.step, repeat
