"""Linear evaluation: multinomial logistic regression by L-BFGS on un-augmented h (App. B.8)."""

import warnings
from typing import Literal

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from simclr_lab.evaluation.labelled import Labelled
from simclr_lab.evaluation.measured import Measured
from simclr_lab.evaluation.metrics import predictions, top1
from simclr_lab.evaluation.standardize import standardizer

STRENGTHS = tuple(10.0**exponent for exponent in range(-5, 1))
"""Penalties on half the squared weights, beside the mean loss per image; standardised features."""

MAX_ITERATIONS = 200


def fit_logistic(
    data: Labelled, strength: float, start: LogisticRegression | None = None
) -> LogisticRegression:
    """Minimise mean cross entropy + strength / 2 * |weights|^2, from ``start`` if given.

    Stops after ``MAX_ITERATIONS`` where the penalty is too weak for the minimum to be near.
    """
    model = LogisticRegression(
        C=1 / (strength * len(data.labels)), max_iter=MAX_ITERATIONS, warm_start=True
    )
    if start is not None:
        model.coef_, model.intercept_ = start.coef_.copy(), start.intercept_.copy()
        model.classes_ = start.classes_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(data.features.numpy(), data.labels.numpy())
    return model


def class_scores(model: LogisticRegression, features: Tensor, classes: int) -> Tensor:
    """Decision values (n, classes); a class that no fitted row had never wins."""
    decided = torch.from_numpy(np.asarray(model.decision_function(features.numpy())))
    if decided.ndim == 1:  # of two classes scikit-learn tells the second's alone
        decided = torch.stack([-decided, decided], dim=1)
    scores = torch.full((len(decided), classes), -torch.inf, dtype=decided.dtype)
    scores[:, torch.from_numpy(model.classes_)] = decided
    return scores


def linear(
    fit: Labelled,
    val: Labelled,
    test: Labelled | None,
    *,
    refit: Literal["train", "train+val"] = "train",
) -> Measured:
    """Choose the strength on validation; read the test split once, with the chosen classifier.

    Strengths go from strong to weak, each fit starting from the one before. Measures ``val_top1``
    and ``strength`` of the classifier fitted on ``fit``, and ``test_top1`` of it or, for
    ``train+val``, of one fitted again on both.
    """
    scale = standardizer(fit.features)
    fit, val = (Labelled(scale(part.features), part.labels) for part in (fit, val))
    classes = int(torch.cat([fit.labels, val.labels]).max()) + 1
    best, best_model, model = {"val_top1": -1.0, "strength": 0.0}, None, None
    for strength in sorted(STRENGTHS, reverse=True):
        model = fit_logistic(fit, strength, model)
        value = top1(class_scores(model, val.features, classes), val.labels)
        if value > best["val_top1"]:
            best, best_model = {"val_top1": value, "strength": strength}, model
    if test is None:
        return Measured(best)
    assert best_model is not None
    if refit == "train+val":
        best_model = fit_logistic(fit + val, best["strength"], best_model)
    scores = class_scores(best_model, scale(test.features), classes)
    found = best | {"test_top1": top1(scores, test.labels)}
    return Measured(found, {"test_predictions": predictions(scores, test.labels)})
