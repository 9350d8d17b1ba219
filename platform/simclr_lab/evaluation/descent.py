"""Nesterov SGD as the evaluations use it: no warm-up, cosine to zero (App. B.5, B.6, B.8).

The paper names no schedule for linear evaluation and fine-tuning; cosine is the official code's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from simclr_lab.contrastive.augment.crop import CropResizeFlip
from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import generator, image_seeds
from simclr_lab.contrastive.schedule import learning_rate_at

MOMENTUM = 0.9
Schedule = Literal["cosine", "constant"]


@dataclass(frozen=True)
class Descent:
    """How long, in which steps, and how fast.

    ``learning_rate`` is the peak itself, not per 256 images.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    schedule: Schedule = "cosine"


def descend(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[Int64[Tensor, " b"], int], Float[Tensor, ""]],
    *,
    images: int,
    descent: Descent,
    purpose: str,
) -> None:
    """Minimise ``loss(rows, epoch)`` over batches of ``images`` rows, in place.

    Every epoch has another order, whose last rows are left out where they fill no batch.
    ``purpose`` names the stream of the orders.
    """
    optimizer = torch.optim.SGD(
        parameters,
        descent.learning_rate,
        MOMENTUM,
        weight_decay=descent.weight_decay,
        nesterov=True,
    )
    batch = min(descent.batch_size, images)
    steps_an_epoch = images // batch
    for step in range(descent.steps):
        epoch, place = divmod(step, steps_an_epoch)
        order = torch.randperm(images, generator=generator(0, purpose, epoch))
        rows = order[place * batch : (place + 1) * batch]
        rate = learning_rate_at(
            step,
            peak=descent.learning_rate,
            warmup_steps=0,
            total_steps=descent.steps,
            schedule=descent.schedule,
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        torch.autograd.backward(loss(rows, epoch))
        optimizer.step()


def crop_and_flip(
    images: Tensor, rows: Int64[Tensor, " b"], epoch: int, *, purpose: str, size: int
) -> Float[Tensor, "b c s s"]:
    """Random crop, resize to ``size`` and flip of the rows; another draw every epoch."""
    seeds = image_seeds(0, purpose, torch.full_like(rows, epoch), rows)
    pixels = images[rows].float() / 255
    return CropResizeFlip()(pixels, Draws(seeds, None, size)).clamp(0, 1)


def zero_classifier(features: int, classes: int) -> nn.Linear:
    """A linear layer at zero; the global generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        classifier = nn.Linear(features, classes)
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    return classifier
