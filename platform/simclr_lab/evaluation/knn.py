"""Weighted nearest neighbours of h: an accuracy without a classifier to fit."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from simclr_lab.evaluation.standardize import top1

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


def knn(
    fit_features: Float[Tensor, "n d"],
    fit_labels: Int64[Tensor, " n"],
    features: Float[Tensor, "m d"],
    labels: Int64[Tensor, " m"],
) -> float:
    """Top-1 in percent with 200 neighbours at temperature 0.1."""
    return top1(knn_scores(fit_features, fit_labels, features), labels)
