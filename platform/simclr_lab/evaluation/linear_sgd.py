"""The paper's own linear evaluation: SGD on h of augmented images (App. B.6, spec 7.1)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from simclr_lab.contrastive.augment.crop import CropResizeFlip
from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import generator, image_seeds
from simclr_lab.contrastive.schedule import learning_rate_at, scaled_learning_rate
from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.labelled import LabelledImages, LabelledSplits
from simclr_lab.evaluation.standardize import top1

MOMENTUM = 0.9
PURPOSE = "linear_sgd"


@dataclass(frozen=True)
class SgdSettings:
    """How the classifier is trained; the paper's values.

    ``learning_rate`` is per 256 images; cosine decay, no warm-up, no weight decay.
    """

    epochs: int = 90
    batch_size: int = 4096
    learning_rate: float = 0.1
    augment: bool = True


def linear_sgd(frozen: Frozen, splits: LabelledSplits, settings: SgdSettings) -> dict[str, float]:
    """Top-1 in percent of a linear classifier from zero, on whole validation and test images."""
    classifier = _fit(frozen, splits.fit, settings)
    parts = {"val": splits.val} | ({"test": splits.test} if splits.test is not None else {})
    with torch.no_grad():
        return {
            f"{name}_top1": top1(classifier(frozen.h(part.images)), part.labels)
            for name, part in parts.items()
        }


def _fit(frozen: Frozen, fit: LabelledImages, settings: SgdSettings) -> nn.Linear:
    images, labels = fit.images, fit.labels
    whole = None if settings.augment else frozen.h(images)
    batch = min(settings.batch_size, len(images))
    steps_an_epoch = len(images) // batch
    classifier = _zeros(frozen.h(images[:1]).shape[1], int(labels.max()) + 1)
    rate = scaled_learning_rate(settings.learning_rate, batch)
    optimizer = torch.optim.SGD(classifier.parameters(), rate, MOMENTUM, nesterov=True)
    total = settings.epochs * steps_an_epoch
    for step in range(total):
        epoch, place = divmod(step, steps_an_epoch)
        order = torch.randperm(len(images), generator=generator(0, PURPOSE, epoch))
        rows = order[place * batch : (place + 1) * batch]
        h = whole[rows] if whole is not None else frozen.h(_augmented(images, rows, epoch))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, peak=rate, warmup_steps=0, total_steps=total)
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(classifier(h), labels[rows]))
        optimizer.step()
    return classifier


def _zeros(features: int, classes: int) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        classifier = nn.Linear(features, classes)
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    return classifier


def _augmented(images: Tensor, rows: Int64[Tensor, " n"], epoch: int) -> Float[Tensor, "n c h w"]:
    """Random crop, resize and flip of the rows; another draw every epoch."""
    seeds = image_seeds(0, PURPOSE, torch.full_like(rows, epoch), rows)
    pixels = images[rows].float() / 255
    return CropResizeFlip()(pixels, Draws(seeds, None, images.shape[2])).clamp(0, 1)
