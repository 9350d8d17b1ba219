"""Named protocols on a finished encoder; what they measure goes by ``<protocol>/<metric>``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from simclr_lab.evaluation.features import extract_features
from simclr_lab.evaluation.knn import knn
from simclr_lab.evaluation.linear import Labelled, linear
from simclr_lab.evaluation.ridge import ridge

PROTOCOLS = ("ridge", "linear", "knn")
READS_TEST = frozenset({"linear", "knn"})


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 (n, c, h, w) with their labels (n,)."""

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]


@dataclass(frozen=True)
class LabelledSplits:
    """What evaluations may see; ``test`` is None where none of them reads it."""

    fit: LabelledImages
    val: LabelledImages
    test: LabelledImages | None = None


def evaluate(
    encoder: nn.Module,
    splits: LabelledSplits,
    protocols: Sequence[str],
    *,
    precision: str = "float32",
    channels_last: bool = False,
    device: torch.device | str = "cpu",
    linear_refit: Literal["train", "train+val"] = "train",
) -> dict[str, float]:
    """Metrics of the named protocols, accuracies in percent; features are extracted once.

    Raises ValueError for an unknown protocol.
    """
    unknown = set(protocols) - set(PROTOCOLS)
    if unknown:
        raise ValueError(f"protocols {sorted(unknown)}; allowed: {', '.join(PROTOCOLS)}")

    def labelled(part: LabelledImages) -> Labelled:
        features = extract_features(
            encoder, part.images, precision=precision, channels_last=channels_last, device=device
        )
        return Labelled(features, part.labels)

    fit, val = labelled(splits.fit), labelled(splits.val)
    reads_test = splits.test is not None and bool(READS_TEST & set(protocols))
    test = labelled(splits.test) if splits.test is not None and reads_test else None
    metrics: dict[str, float] = {}
    if "ridge" in protocols:
        found = ridge(fit.features, fit.labels, val.features, val.labels)
        metrics |= {f"ridge/{name}": value for name, value in found.items()}
    if "linear" in protocols:
        found = linear(fit, val, test, refit=linear_refit)
        metrics |= {f"linear/{name}": value for name, value in found.items()}
    if "knn" in protocols:
        parts = {"val": val} | ({"test": test} if test is not None else {})
        for name, part in parts.items():
            value = knn(fit.features, fit.labels, part.features, part.labels)
            metrics[f"knn/{name}_top1"] = value
    return metrics
