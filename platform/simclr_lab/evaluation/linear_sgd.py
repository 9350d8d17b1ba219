"""The paper's own linear evaluation: SGD on h of augmented images (App. B.6, spec 7.1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simclr_lab.contrastive.schedule import scaled_learning_rate
from simclr_lab.evaluation.descent import Descent, Schedule, crop_and_flip, descend, zero_classifier
from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.labelled import LabelledImages, LabelledSplits
from simclr_lab.evaluation.measured import Measured
from simclr_lab.evaluation.metrics import classification_loss, predictions, top1

PURPOSE = "linear_sgd"


@dataclass(frozen=True)
class SgdSettings:
    """How the classifier is trained; the paper's values.

    ``learning_rate`` is per 256 images; no warm-up, no weight decay.
    """

    epochs: int = 90
    batch_size: int = 4096
    learning_rate: float = 0.1
    augment: bool = True
    schedule: Schedule = "cosine"


def linear_sgd(frozen: Frozen, splits: LabelledSplits, settings: SgdSettings) -> Measured:
    """Top-1 in percent of a linear classifier from zero, on whole validation and test images."""
    classifier = _fit(frozen, splits.fit, settings)
    metrics, arrays = {}, {}
    with torch.no_grad():
        for name, part in splits.judged():
            scores = classifier(frozen.h(part.images))
            metrics[f"{name}_top1"] = top1(scores, part.labels)
            if name == "test":
                arrays["test_predictions"] = predictions(scores, part.labels)
    return Measured(metrics, arrays)


def _fit(frozen: Frozen, fit: LabelledImages, settings: SgdSettings) -> nn.Linear:
    images, labels = fit.images, fit.labels
    whole = None if settings.augment else frozen.h(images)
    size = frozen.size or images.shape[2]
    batch = min(settings.batch_size, len(images))
    classifier = zero_classifier(frozen.h(images[:1]).shape[1], int(labels.max()) + 1)

    def loss(rows: Tensor, epoch: int) -> Tensor:
        if whole is not None:
            return classification_loss(classifier(whole[rows]), labels[rows])
        views = crop_and_flip(images, rows, epoch, purpose=PURPOSE, size=size)
        return classification_loss(classifier(frozen.h(views)), labels[rows])

    descent = Descent(
        steps=settings.epochs * (len(images) // batch),
        batch_size=batch,
        learning_rate=scaled_learning_rate(settings.learning_rate, batch),
        schedule=settings.schedule,
    )
    descend(classifier.parameters(), loss, images=len(images), descent=descent, purpose=PURPOSE)
    return classifier
