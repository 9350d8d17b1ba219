"""Ridge classification: the cheap metric, in closed form from one eigendecomposition."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from simclr_lab.evaluation.metrics import top1
from simclr_lab.evaluation.standardize import standardizer

STRENGTHS = tuple(10.0**exponent for exponent in range(-5, 2))
"""Penalties per image on squared weights of standardised features."""


def ridge(
    fit_features: Float[Tensor, "n d"],
    fit_labels: Int64[Tensor, " n"],
    val_features: Float[Tensor, "m d"],
    val_labels: Int64[Tensor, " m"],
) -> dict[str, float]:
    """Least squares to one-hot labels with the strength that is best on validation.

    Returns ``val_top1`` in percent and ``strength``. Of equal strengths the larger is taken.
    """
    scale = standardizer(fit_features)
    x, y = scale(fit_features).double(), _one_hot(fit_labels)
    offset = y.mean(dim=0)
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    target = vectors.T @ (x.T @ (y - offset)) / len(x)
    projected = scale(val_features).double() @ vectors
    best = {"val_top1": -1.0, "strength": 0.0}
    for strength in sorted(STRENGTHS, reverse=True):
        scores = projected @ (target / (values.clamp(min=0) + strength)[:, None]) + offset
        accuracy = top1(scores, val_labels)
        if accuracy > best["val_top1"]:
            best = {"val_top1": accuracy, "strength": strength}
    return best


def _one_hot(labels: Int64[Tensor, " n"]) -> Float[Tensor, "n classes"]:
    return functional.one_hot(labels).double()
