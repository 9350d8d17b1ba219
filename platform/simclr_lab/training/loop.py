"""Pretraining as a generator of per-epoch metrics, resumable exactly (design idea 4).

Nothing here remembers random state: every permutation and every draw is a function of the seed,
the epoch and the position, so a state is the weights, the optimizer and the number of steps done.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from simclr_lab.contrastive.draws import image_seeds
from simclr_lab.contrastive.schedule import learning_rate_at
from simclr_lab.data.stream import TrainingStream
from simclr_lab.recipe import Recipe
from simclr_lab.training.build import (
    build_loss,
    build_measures,
    build_model,
    build_optimizer,
    build_views,
)
from simclr_lab.training.step import training_step


@dataclass(frozen=True)
class EpochMetrics:
    """Means over the steps since the last epoch's end; ``step`` steps are done.

    ``finite`` is whether the loss, the weights and the running statistics still are.
    """

    epoch: int
    step: int
    metrics: dict[str, float]
    finite: bool = True


class Pretraining:
    """One worker's part of a pretraining run.

    Inside an initialised process group every worker holds the same ``images`` and takes its slice
    of each global batch; the result equals one worker's.

    Args:
        recipe: the complete settings.
        seed: the cell's seed; it alone drives initial weights, order and augmentation.
        images: uint8 of shape (n, 3, h, w), shared and never written to.
        subset: int64 of shape (pretraining images,), rows of ``images`` that pretraining sees.
        device: where weights and views live.
        labels: int64 of shape (n,), where the recipe is the supervised baseline.
    """

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        images: Tensor,
        subset: Tensor,
        device: torch.device | str = "cpu",
        labels: Tensor | None = None,
    ) -> None:
        if recipe.supervised and labels is None:
            raise ValueError("loss.name is 'cross_entropy', which needs labels; none were given")
        if len(subset) != recipe.pretrain_images:
            raise ValueError(
                f"got {len(subset)} pretraining images; the recipe says {recipe.pretrain_images}"
            )
        self.recipe, self.seed = recipe, seed
        self.images, self.subset = images, subset
        self.labels = labels if labels is not None else torch.zeros(len(images), dtype=torch.int64)
        self.device = torch.device(device)
        self.rank, self.world_size = (
            (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        )
        self.model = build_model(recipe, seed).to(self.device)
        self.optimizer = build_optimizer(recipe, self.model) if recipe.trains else None
        self.views = build_views(recipe)
        self.loss, self.measures = build_loss(recipe), build_measures(recipe)
        self.stream = TrainingStream(len(subset), recipe.batch_size, seed)
        self.step = 0

    def epochs(self) -> Iterator[EpochMetrics]:
        """Train to the end from wherever the state stands, yielding at each epoch's end.

        An epoch ends with the first step past its last image, the last one with the run. A run
        that is no longer finite ends after yielding that epoch.
        """
        if not self.recipe.trains:
            return
        self.model.train()
        wrapped = self._wrapped()
        sums, count = torch.zeros(1 + len(self.measures), dtype=torch.float64), 0
        sums = sums.to(self.device)
        while self.step < self.recipe.total_steps:
            epoch = self.stream.completed_epochs(self.step)
            sums += self._one_step(wrapped)
            count += 1
            self.step += 1
            done = self.stream.completed_epochs(self.step)
            if done > epoch:
                metrics = self._mean_over_workers(sums / count)
                finite = math.isfinite(metrics["train/loss"]) and self._is_finite()
                yield EpochMetrics(done, self.step, metrics, finite)
                if not finite:
                    return
                sums.zero_()
                count = 0

    def _wrapped(self) -> torch.nn.Module:
        """The model, with gradients averaged over workers when there are several."""
        if self.world_size == 1:
            return self.model
        # Buffers need no broadcast: batch norm computes the same global statistics everywhere.
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(self.model, device_ids=ids, broadcast_buffers=False)

    def _one_step(self, wrapped: torch.nn.Module) -> Tensor:
        recipe = self.recipe
        assert self.optimizer is not None
        view_a, view_b, labels = self._draw_views()
        micro = recipe.compute.micro_batch_size
        return training_step(
            wrapped,
            view_a,
            view_b,
            loss=partial(self.loss, labels=labels),
            optimizer=self.optimizer,
            learning_rate=self.learning_rate(),
            measures=[partial(measure, labels=labels) for measure in self.measures.values()],
            precision=recipe.compute.precision,
            channels_last=recipe.compute.channels_last,
            micro_batch=None if micro == "whole" else micro,
        )

    def _draw_views(self) -> tuple[Tensor, Tensor, Tensor]:
        """This worker's two views of its slice of the global batch, and the labels."""
        part = self.stream.slice(self.step, self.rank, self.world_size)
        seeds = image_seeds(self.seed, "views", part.epochs, part.positions)
        step = torch.tensor([self.step])
        batch_seed = int(image_seeds(self.seed, "batch", step, torch.zeros_like(step)))
        rows = self.subset[part.indices]
        view_a, view_b = self.views(self.images[rows].to(self.device), seeds, batch_seed)
        return view_a, view_b, self.labels[rows].to(self.device)

    def _is_finite(self) -> bool:
        """Whether every weight and running statistic is a number; the same on every worker."""
        return all(bool(torch.isfinite(value).all()) for value in self.model.state_dict().values())

    def learning_rate(self) -> float:
        """Learning rate of the step to come."""
        return learning_rate_at(
            self.step,
            peak=self.recipe.peak_learning_rate,
            warmup_steps=self.recipe.warmup_steps,
            total_steps=self.recipe.total_steps,
            schedule=self.recipe.optimizer.schedule,
        )

    def _mean_over_workers(self, means: Tensor) -> dict[str, float]:
        if self.world_size > 1:
            dist.all_reduce(means)
            means = means / self.world_size
        names = ("train/loss", *self.measures)
        return dict(zip(names, means.tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Everything that a continuation needs: weights, optimizer, steps done."""
        optimizer = self.optimizer.state_dict() if self.optimizer else {}
        return {"step": self.step, "model": self.model.state_dict(), "optimizer": optimizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state_dict`` of a run with the same recipe and seed."""
        self.model.load_state_dict(state["model"])
        if self.optimizer:
            self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
