"""Weighted nearest neighbours of h: an accuracy without a classifier to fit."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from simclr_lab.evaluation.labelled import Labelled
from simclr_lab.evaluation.measured import Measured
from simclr_lab.evaluation.metrics import predictions, top1

NEIGHBOURS = 200
TEMPERATURE = 0.1
_CHUNK = 1000


def knn_scores(
    fit_features: Float[Tensor, "n d"],
    fit_labels: Int64[Tensor, " n"],
    features: Float[Tensor, "m d"],
    *,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> Float[Tensor, "m classes"]:
    """Votes of each row's most similar fitted rows, each weighing exp(cosine / temperature).

    Fewer fitted rows than ``neighbours`` all vote.
    """
    fitted = functional.normalize(fit_features, dim=1)
    classes = int(fit_labels.max()) + 1
    parts = []
    for chunk in torch.split(functional.normalize(features, dim=1), _CHUNK):
        cosine, index = (chunk @ fitted.T).topk(min(neighbours, len(fitted)), dim=1)
        votes = chunk.new_zeros(len(chunk), classes)
        parts.append(votes.scatter_add_(1, fit_labels[index], (cosine / temperature).exp()))
    return torch.cat(parts)


def knn(fit: Labelled, val: Labelled, test: Labelled | None) -> Measured:
    """Top-1 in percent with 200 neighbours at temperature 0.1."""
    metrics, arrays = {}, {}
    for name, part in (("val", val), ("test", test)):
        if part is None:
            continue
        scores = knn_scores(fit.features, fit.labels, part.features)
        metrics[f"{name}_top1"] = top1(scores, part.labels)
        if name == "test":
            arrays["test_predictions"] = predictions(scores, part.labels)
    return Measured(metrics, arrays)
