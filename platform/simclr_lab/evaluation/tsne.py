"""H and z of validation images in the plane, by t-SNE (App. B.4, Fig. B.4)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from torch import Tensor

from simclr_lab.contrastive.draws import generator
from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.labelled import LabelledImages
from simclr_lab.evaluation.measured import Measured

CLASSES = 10
"""Classes shown, as in the paper."""


@dataclass(frozen=True)
class TsneSettings:
    """The paper publishes none of these."""

    images: int = 2000
    perplexity: float = 30.0


def plane(features: Float[Tensor, "n d"], perplexity: float) -> Float[Tensor, "n 2"]:
    """A place for each row; the same at every call."""
    few = min(perplexity, (len(features) - 1) / 3)
    placed = TSNE(perplexity=few, init="pca", random_state=0).fit_transform(features.numpy())
    return torch.from_numpy(placed)


def chosen_rows(labels: Int64[Tensor, " n"], images: int) -> Int64[Tensor, " m"]:
    """The first ``images`` rows of ten random classes; of all classes where there are no more."""
    classes = torch.nonzero(torch.bincount(labels))[:, 0]
    order = torch.randperm(len(classes), generator=generator(0, "tsne"))
    shown = torch.isin(labels, classes[order[:CLASSES]])
    return torch.nonzero(shown)[:images, 0]


def tsne(frozen: Frozen, val: LabelledImages, settings: TsneSettings) -> Measured:
    """Arrays ``h`` and ``z``, places in the plane, and ``labels``.

    ``h_silhouette`` and ``z_silhouette`` say in numbers what the eye sees: how much nearer an image
    lies to its own class than to the nearest other one, from -1 to 1.
    """
    rows = chosen_rows(val.labels, settings.images)
    labels = val.labels[rows]
    arrays = {"labels": labels.to(torch.int16)}
    metrics = {}
    for name, features in (("h", frozen.h), ("z", frozen.z)):
        arrays[name] = plane(features(val.images[rows]), settings.perplexity)
        metrics[f"{name}_silhouette"] = float(
            silhouette_score(arrays[name].numpy(), labels.numpy())
        )
    return Measured(metrics, arrays)
