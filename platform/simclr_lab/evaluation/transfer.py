"""Transfer to another dataset: a linear classifier on h, and fine-tuning (App. B.8, Table 8).

Hyperparameters are chosen on the target's validation images; the chosen classifier is trained again
on training and validation images and reads the test images once.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from torch import Tensor

from simclr_lab.evaluation.descent import Descent
from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.finetune import fine_tuned
from simclr_lab.evaluation.labelled import Labelled, LabelledImages, LabelledSplits
from simclr_lab.evaluation.linear import MAX_ITERATIONS, class_scores, fit_logistic
from simclr_lab.evaluation.measured import Measured
from simclr_lab.evaluation.metrics import METRICS, predictions
from simclr_lab.evaluation.resizing import FINETUNE_MARGIN, centred

STRENGTH_MIN, STRENGTH_MAX = 1e-6, 1e5
Scores = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Target:
    """A dataset to transfer to.

    ``splits`` hold its images at their own size, test included; ``metric`` is one of ``METRICS``.
    """

    splits: LabelledSplits
    classes: int
    metric: str = "top1"

    def score(self, scores: Tensor, labels: Tensor) -> float:
        """The dataset's own metric, in percent."""
        return METRICS[self.metric](scores, labels)


@dataclass(frozen=True)
class TransferSettings:
    """``strengths`` penalties on half the squared weights beside the summed loss, log-spaced."""

    strengths: int = 45


@dataclass(frozen=True)
class TransferFinetuneSettings:
    """The grid of fine-tuning; the paper's values for a pretrained encoder.

    A ``weight_decay`` is divided by the learning rate it goes with.
    """

    steps: int = 20_000
    batch_size: int = 256
    learning_rates: tuple[float, ...] = tuple(np.geomspace(1e-4, 1e-1, 7).tolist())
    weight_decays: tuple[float, ...] = (*np.geomspace(1e-6, 1e-3, 7).tolist(), 0.0)

    def from_scratch(self) -> "TransferFinetuneSettings":
        """The paper's grid for random initial weights, made of this one by the same steps.

        Twice the steps; rates ten times as high; as many decays, all positive, from ten times the
        smallest to 10^1.5 times the largest.
        """
        decays = [decay for decay in self.weight_decays if decay > 0]
        ends = (10 * min(decays), 10**1.5 * max(decays)) if decays else (1e-5, 10**-1.5)
        return TransferFinetuneSettings(
            steps=2 * self.steps,
            batch_size=self.batch_size,
            learning_rates=tuple(10 * rate for rate in self.learning_rates),
            weight_decays=tuple(np.geomspace(*ends, len(self.weight_decays)).tolist()),
        )


def transfer_linear(frozen: Frozen, target: Target, settings: TransferSettings) -> Measured:
    """L2-regularised multinomial logistic regression by L-BFGS on h of whole images.

    Of images with several labels, one regression per class.
    """
    splits = target.splits
    assert splits.test is not None
    fit, val, test = (
        Labelled(frozen.h(part.images), part.labels)
        for part in (splits.fit, splits.val, splits.test)
    )
    best, chosen, model = -1.0, STRENGTH_MAX, None
    for strength in np.geomspace(STRENGTH_MAX, STRENGTH_MIN, settings.strengths).tolist():
        model = _Regression(fit, strength, target.classes, model)
        value = target.score(model(val.features), val.labels)
        if value > best:
            best, chosen = value, strength
    final = _Regression(fit + val, chosen, target.classes)
    return _result(target, best, final(test.features), {"strength": chosen})


class _Regression:
    """Logistic regression of one label or of several, fitted; called, it scores features."""

    def __init__(
        self, data: Labelled, strength: float, classes: int, start: "_Regression | None" = None
    ) -> None:
        self.classes = classes
        self.several = data.labels.ndim == 2
        if self.several:
            one = LogisticRegression(C=1 / strength, max_iter=MAX_ITERATIONS)
            self.model = OneVsRestClassifier(one)
            self.model.fit(data.features.numpy(), data.labels.numpy())
        else:
            per_image = strength / len(data.labels)
            self.model = fit_logistic(data, per_image, start.model if start else None)

    def __call__(self, features: Tensor) -> Tensor:
        if self.several:
            return torch.from_numpy(np.asarray(self.model.decision_function(features.numpy())))
        return class_scores(self.model, features, self.classes)


def transfer_finetune(
    frozen: Frozen, target: Target, settings: TransferFinetuneSettings, name: str
) -> Measured:
    """Fine-tune once per learning rate and weight decay; the best on validation is trained again.

    Args:
        frozen: the pretrained encoder; copies of it are trained.
        target: the dataset.
        settings: the grid.
        name: of the dataset; it names the random streams.
    """
    splits = target.splits
    assert splits.test is not None
    val, test = (_with_margin(frozen, part.images) for part in (splits.val, splits.test))
    best, chosen = -1.0, (settings.learning_rates[0], settings.weight_decays[0])
    for point in itertools.product(settings.learning_rates, settings.weight_decays):
        tuned = _train(frozen, splits.fit, target, settings, point, name)
        value = target.score(tuned.z(val), splits.val.labels)
        if value > best:
            best, chosen = value, point
    final = _train(frozen, splits.fit + splits.val, target, settings, chosen, name)
    settings_found = {"learning_rate": chosen[0], "weight_decay": chosen[1]}
    return _result(target, best, final.z(test), settings_found)


def _with_margin(frozen: Frozen, images: Tensor) -> Tensor:
    return images if frozen.size is None else centred(images, frozen.size, FINETUNE_MARGIN)


def _train(
    frozen: Frozen,
    data: LabelledImages,
    target: Target,
    settings: TransferFinetuneSettings,
    point: tuple[float, float],
    name: str,
) -> Frozen:
    rate, decay = point
    batch = min(settings.batch_size, len(data.images))
    steps_an_epoch = len(data.images) // batch
    return fine_tuned(
        frozen,
        data,
        classes=target.classes,
        descent=Descent(settings.steps, batch, rate, decay / rate),
        purpose=f"transfer {name}",
        batch_norm_momentum=min(10 / steps_an_epoch, 0.1),
    )


def _result(target: Target, val: float, test_scores: Tensor, chosen: dict[str, float]) -> Measured:
    assert target.splits.test is not None
    labels = target.splits.test.labels
    found = {
        f"val_{target.metric}": val,
        f"test_{target.metric}": target.score(test_scores, labels),
    }
    return Measured(found | chosen, {"test_predictions": predictions(test_scores, labels)})
