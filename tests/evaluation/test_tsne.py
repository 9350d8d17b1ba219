"""t-SNE of h and z: neighbours stay neighbours, the same picture at every call."""

import torch
from torch import nn

from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.labelled import LabelledImages
from simclr_lab.evaluation.tsne import TsneSettings, chosen_rows, tsne

SETTINGS = TsneSettings(images=120, perplexity=10)


class Means(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


class Blind(nn.Module):
    """Forgets what the classes differ by, keeps some noise."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return (1000 * h).frac()


def tinted(n: int) -> LabelledImages:
    labels = torch.arange(n) % 3
    pixels = torch.randint(0, 60, (n, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    pixels[torch.arange(n), labels] += 150
    return LabelledImages(pixels.to(torch.uint8), labels)


def test_classes_that_h_separates_lie_apart() -> None:
    found = tsne(Frozen(Means(), Blind()), tinted(200), SETTINGS)
    assert found.arrays["h"].shape == found.arrays["z"].shape == (120, 2)
    assert found.arrays["labels"].tolist() == (torch.arange(120) % 3).tolist()
    assert found.metrics["h_silhouette"] > 0.5
    assert found.metrics["z_silhouette"] < 0.1


def test_the_same_picture_at_every_call() -> None:
    first, again = (tsne(Frozen(Means(), Blind()), tinted(150), SETTINGS) for _ in range(2))
    assert torch.equal(first.arrays["h"], again.arrays["h"])


def test_ten_classes_are_shown() -> None:
    labels = torch.arange(2600) % 26
    rows = chosen_rows(labels, 500)
    assert len(rows) == 500
    assert len(labels[rows].unique()) == 10
    assert torch.equal(rows, chosen_rows(labels, 500))
    assert len(labels[rows].unique()) < len(labels.unique())
