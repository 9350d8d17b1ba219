"""What a classifier's scores are worth, each in percent (App. B.8, Table 8).

n: images, k: classes. Labels are (n,), or 0/1 of shape (n, k) where an image has several.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

RECALLS = tuple(step / 10 for step in range(11))


def top1(scores: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """Percent of rows whose largest score is their label's."""
    return 100 * float((scores.argmax(dim=1) == labels).double().mean())


def top5(scores: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """Percent of rows whose label's score is among the five largest; all, of five classes."""
    best = scores.topk(min(5, scores.shape[1]), dim=1).indices
    return 100 * float((best == labels[:, None]).any(dim=1).double().mean())


def mean_per_class(scores: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """Mean over the classes that occur of the percent of their rows with the largest score."""
    right = (scores.argmax(dim=1) == labels).double()
    counts = torch.bincount(labels, minlength=scores.shape[1])
    hits = torch.bincount(labels, right, minlength=scores.shape[1])
    return 100 * float((hits[counts > 0] / counts[counts > 0]).mean())


def map11(scores: Float[Tensor, "n k"], labels: Int64[Tensor, "n k"]) -> float:
    """VOC2007's 11-point mean average precision, over the classes that occur.

    Average precision is the mean, over recalls 0, 0.1, ... 1, of the best precision at that recall
    or a higher one. Of equal scores the earlier row ranks first.
    """
    occurs = labels.any(dim=0)
    ranking = scores[:, occurs].argsort(dim=0, descending=True, stable=True)
    found = labels[:, occurs].gather(0, ranking).double().cumsum(dim=0)
    recall = found / found[-1]
    precision = found / torch.arange(1, len(found) + 1, dtype=torch.float64)[:, None]
    points = [torch.where(recall >= at - 1e-12, precision, 0).amax(dim=0) for at in RECALLS]
    return 100 * float(torch.stack(points).mean())


METRICS: dict[str, Callable[[Tensor, Tensor], float]] = {
    "top1": top1,
    "mean_per_class": mean_per_class,
    "map11": map11,
}
"""The metrics that datasets declare, by name."""


def predictions(scores: Float[Tensor, "n k"], labels: Tensor) -> Tensor:
    """The class of the largest score, int16 (n,); with several labels, which ones score above 0."""
    if labels.ndim == 2:
        return scores > 0
    return scores.argmax(dim=1).to(torch.int16)


def correct(predicted: Tensor, labels: Tensor) -> Bool[Tensor, " n"]:
    """Whether each row is right; with several labels, right in all of them."""
    right = predicted.to(labels.dtype) == labels
    return right.all(dim=1) if labels.ndim == 2 else right


def classification_loss(logits: Float[Tensor, "n k"], labels: Tensor) -> Float[Tensor, ""]:
    """Cross entropy; with several labels, the mean of a yes-or-no question per class."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if labels.ndim == 2:
        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return functional.cross_entropy(logits, labels)
