"""The paper's linear evaluation: agrees with the other optimizer, leaves the encoder untouched."""

import hashlib

import pytest
import torch
from torch import nn

from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.labelled import Labelled, LabelledImages, LabelledSplits
from simclr_lab.evaluation.linear import linear
from simclr_lab.evaluation.linear_sgd import SgdSettings, linear_sgd

SETTINGS = SgdSettings(epochs=60, batch_size=100, learning_rate=2.0, augment=False)


class Means(nn.Module):
    """H is the mean colour of each quarter of the image, behind a batch norm that must stay."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(self.norm(x), 2).flatten(1)


def images(n: int, seed: int) -> LabelledImages:
    """Four classes that differ by colour, with noise that makes some of them alike."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    tints = torch.tensor([[40, 0, 0], [0, 40, 0], [0, 0, 40], [25, 25, 0]])
    shift = torch.randint(-30, 31, (n, 3, 1, 1), generator=generator)
    pixels = torch.randint(60, 120, (n, 3, 16, 16), generator=generator)
    return LabelledImages(
        (pixels + shift + tints[labels][:, :, None, None]).clamp(0, 255).to(torch.uint8), labels
    )


@pytest.fixture(scope="module")
def splits() -> LabelledSplits:
    return LabelledSplits(images(800, 0), images(1000, 1), images(2000, 2))


def test_both_optimizers_agree_without_augmentation(splits: LabelledSplits) -> None:
    frozen = Frozen(Means())
    parts = [Labelled(frozen.h(p.images), p.labels) for p in (splits.fit, splits.val, splits.test)]
    other = linear(*parts).metrics
    found = linear_sgd(frozen, splits, SETTINGS).metrics
    assert 60 < other["test_top1"] < 99
    for name in ("val_top1", "test_top1"):
        assert found[name] == pytest.approx(other[name], abs=1.5)


def test_augmented_training_repeats_itself_and_differs(splits: LabelledSplits) -> None:
    short = SgdSettings(epochs=3, batch_size=200, learning_rate=2.0)
    torch.manual_seed(1)
    first = linear_sgd(Frozen(Means()), splits, short).metrics
    torch.manual_seed(2)
    assert linear_sgd(Frozen(Means()), splits, short).metrics == first
    plain = SgdSettings(epochs=3, batch_size=200, learning_rate=2.0, augment=False)
    assert linear_sgd(Frozen(Means()), splits, plain).metrics != first
    assert first["val_top1"] > 50


def digest(module: nn.Module) -> str:
    content = b"".join(v.numpy().tobytes() for v in module.state_dict().values())
    return hashlib.sha256(content).hexdigest()


def test_the_encoder_is_untouched(splits: LabelledSplits) -> None:
    encoder = Means().train()
    before = digest(encoder)
    linear_sgd(Frozen(encoder), splits, SgdSettings(epochs=1, batch_size=400))
    assert digest(encoder) == before
    assert encoder.training


def test_no_more_images_a_batch_than_there_are() -> None:
    few = LabelledSplits(images(40, 0), images(40, 1))
    found = linear_sgd(Frozen(Means()), few, SgdSettings(epochs=2))
    assert set(found.metrics) == {"val_top1"}
