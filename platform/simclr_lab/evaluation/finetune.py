"""Fine-tuning: the whole network with a linear classifier on h, from few or all labels (App. B.5).

The encoder is copied first; what was pretrained stays as it is.
"""

import copy
from dataclasses import dataclass, replace

from torch import Tensor

from simclr_lab.contrastive.batch_norm import GroupBatchNorm
from simclr_lab.contrastive.schedule import scaled_learning_rate
from simclr_lab.evaluation.descent import Descent, Schedule, crop_and_flip, descend, zero_classifier
from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.labelled import LabelledImages, LabelledSplits
from simclr_lab.evaluation.measured import Measured
from simclr_lab.evaluation.metrics import classification_loss, predictions, top1, top5


@dataclass(frozen=True)
class FinetuneSettings:
    """How the network is trained; the paper's values for 1% of the labels (30 epochs for 10%).

    ``learning_rate`` is per 256 images; no warm-up, no regularisation.
    """

    epochs: int = 60
    batch_size: int = 4096
    learning_rate: float = 0.05
    schedule: Schedule = "cosine"


def fine_tuned(
    frozen: Frozen,
    data: LabelledImages,
    *,
    classes: int,
    descent: Descent,
    purpose: str,
    batch_norm_momentum: float | None = None,
) -> Frozen:
    """A trained copy of the encoder, whose z are the scores of the classes.

    Args:
        frozen: the pretrained encoder; it is not touched.
        data: labelled images, seen through random crops and flips.
        classes: how many.
        descent: steps, batch and rate.
        purpose: names the streams of orders and crops.
        batch_norm_momentum: weight of the newest batch in the running statistics; None leaves it.
    """
    size = frozen.size or data.images.shape[2]
    encoder = copy.deepcopy(frozen.encoder).train()
    for norm in (m for m in encoder.modules() if isinstance(m, GroupBatchNorm)):
        norm.group_images = None  # one view of each image: there are no pairs to keep apart
        norm.momentum = norm.momentum if batch_norm_momentum is None else batch_norm_momentum
    width = frozen.h(data.images[:1]).shape[1]
    like = next(encoder.parameters(), None)
    head = zero_classifier(width, classes)
    head = head if like is None else head.to(like)
    network = [encoder, head]

    def loss(rows: Tensor, epoch: int) -> Tensor:
        views = crop_and_flip(data.images, rows, epoch, purpose=purpose, size=size)
        scores = frozen.forward(views, network)
        return classification_loss(scores, data.labels[rows].to(scores.device))

    parameters = [parameter for module in network for parameter in module.parameters()]
    descend(parameters, loss, images=len(data.images), descent=descent, purpose=purpose)
    return replace(frozen, encoder=encoder, head=head)


def finetune(
    frozen: Frozen, few: LabelledImages, splits: LabelledSplits, settings: FinetuneSettings
) -> Measured:
    """Top-1 and top-5 in percent after fine-tuning on ``few`` labelled images (Sec. 6, Table 7)."""
    size = len(few.images)
    batch = min(settings.batch_size, size)
    tuned = fine_tuned(
        frozen,
        few,
        classes=int(splits.val.labels.max()) + 1,
        descent=Descent(
            steps=settings.epochs * (size // batch),
            batch_size=batch,
            learning_rate=scaled_learning_rate(settings.learning_rate, batch),
            schedule=settings.schedule,
        ),
        purpose=f"finetune {size}",
    )
    metrics, arrays = {"fit_images": float(size)}, {}
    for name, part in splits.judged():
        scores = tuned.z(part.images)
        metrics[f"{name}_top1"] = top1(scores, part.labels)
        metrics[f"{name}_top5"] = top5(scores, part.labels)
        if name == "test":
            arrays["test_predictions"] = predictions(scores, part.labels)
    return Measured(metrics, arrays)
