"""Named protocols on a finished encoder; what they measure goes by ``<protocol>/<metric>``."""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor

from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.knn import knn
from simclr_lab.evaluation.labelled import Labelled, LabelledImages, LabelledSplits
from simclr_lab.evaluation.linear import linear
from simclr_lab.evaluation.linear_sgd import SgdSettings, linear_sgd
from simclr_lab.evaluation.ridge import ridge
from simclr_lab.evaluation.transform_probe import PROBES, transform_probe

PROTOCOLS = ("ridge", "linear", "linear_z", "linear_sgd", "knn", *PROBES)
READS_TEST = frozenset({"linear", "linear_z", "linear_sgd", "knn"})


def evaluate(
    frozen: Frozen,
    splits: LabelledSplits,
    protocols: Sequence[str],
    *,
    linear_refit: Literal["train", "train+val"] = "train",
    sgd: SgdSettings | None = None,
) -> dict[str, float]:
    """Metrics of the named protocols, accuracies in percent; h is extracted once.

    Raises ValueError for an unknown protocol.
    """
    unknown = set(protocols) - set(PROTOCOLS)
    if unknown:
        raise ValueError(f"protocols {sorted(unknown)}; allowed: {', '.join(PROTOCOLS)}")
    metrics: dict[str, dict[str, float]] = {}
    if {"ridge", "linear", "knn"} & set(protocols):
        fit, val, test = _features(frozen.h, splits, with_test=bool(READS_TEST & set(protocols)))
        if "ridge" in protocols:
            metrics["ridge"] = ridge(fit.features, fit.labels, val.features, val.labels)
        if "linear" in protocols:
            metrics["linear"] = linear(fit, val, test, refit=linear_refit)
        if "knn" in protocols:
            metrics["knn"] = _nearest(fit, val, test)
    if "linear_z" in protocols:
        fit, val, test = _features(frozen.z, splits, with_test=True)
        metrics["linear_z"] = linear(fit, val, test, refit=linear_refit)
    if "linear_sgd" in protocols:
        metrics["linear_sgd"] = linear_sgd(frozen, splits, sgd or SgdSettings())
    for name in PROBES.keys() & set(protocols):
        metrics[name] = transform_probe(name, frozen, splits.fit.images, splits.val.images)
    return {
        f"{protocol}/{name}": value
        for protocol, found in metrics.items()
        for name, value in found.items()
    }


def _features(
    embed: Callable[[Tensor], Tensor], splits: LabelledSplits, *, with_test: bool
) -> tuple[Labelled, Labelled, Labelled | None]:
    """Fit, validation and, where it is read, test."""

    def labelled(part: LabelledImages) -> Labelled:
        return Labelled(embed(part.images), part.labels)

    test = splits.test if with_test else None
    return labelled(splits.fit), labelled(splits.val), labelled(test) if test else None


def _nearest(fit: Labelled, val: Labelled, test: Labelled | None) -> dict[str, float]:
    parts = {"val": val} | ({"test": test} if test is not None else {})
    return {
        f"{name}_top1": knn(fit.features, fit.labels, part.features, part.labels)
        for name, part in parts.items()
    }
