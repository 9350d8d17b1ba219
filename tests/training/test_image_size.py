"""Every protocol shows the encoder images of the side that it was pretrained at."""

from dataclasses import replace

import pytest
import torch
from small import small_dataset, small_recipe
from torch import nn

from simclr_lab.contrastive.model import SimCLR
from simclr_lab.data.sources import Dataset
from simclr_lab.evaluation.protocols import PROTOCOLS, Judge, evaluate
from simclr_lab.training import judging
from simclr_lab.training.judging import build_judge

STORED, SEEN = 12, 16
BRIEF = {
    "evaluation__fit_images": 300,
    "evaluation__sgd_epochs": 1,
    "evaluation__finetune_epochs_1pct": 1,
    "evaluation__finetune_epochs_10pct": 1,
    "evaluation__transfer_fit_images": 300,
    "evaluation__transfer_strengths": 3,
    "evaluation__transfer_steps": 3,
    "evaluation__transfer_learning_rates": [0.01],
    "evaluation__transfer_weight_decays": [0.0],
    "evaluation__tsne_images": 60,
}
LOOKING = sorted(
    set(PROTOCOLS) - {"spectrum", "classifier"}
    | {"transfer_fashion_mnist", "transfer_finetune_fashion_mnist"}
)
"""Protocols that show images to any encoder: the spectrum is of weights, one needs labels' head."""


class Colours(nn.Module):
    """H is the mean of eight mixtures of the colours."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 8, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.mix(images).mean(dim=(2, 3))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return small_dataset(STORED)


def judge_of(dataset: Dataset, sides: set[tuple[int, ...]], **changes) -> Judge:
    """A judge of an encoder that tells ``sides`` what it is shown, copies of it too."""
    recipe = small_recipe(data__image_size=SEEN, **BRIEF | changes)
    encoder = Colours()
    encoder.register_forward_pre_hook(lambda _, shown: sides.add(tuple(shown[0].shape[2:])))
    head = nn.Linear(8, 10) if recipe.supervised else nn.Identity()
    model = SimCLR(encoder, head)
    return build_judge(recipe, model, dataset, device=torch.device("cpu"), test=True)


@pytest.mark.parametrize("protocol", LOOKING)
def test_the_encoder_sees_its_own_size(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    other = replace(
        dataset,
        name="fashion_mnist",
        train_images=dataset.train_images[:600],
        train_labels=dataset.train_labels[:600],
        test_images=dataset.test_images[:200],
        test_labels=dataset.test_labels[:200],
    )
    monkeypatch.setattr(judging, "load_dataset", lambda name: other)
    sides: set[tuple[int, ...]] = set()
    evaluate(judge_of(dataset, sides), [protocol])
    assert sides == {(SEEN, SEEN)}


def test_also_without_augmentation(dataset: Dataset) -> None:
    sides: set[tuple[int, ...]] = set()
    evaluate(judge_of(dataset, sides, evaluation__sgd_augment=False), ["linear_sgd"])
    assert sides == {(SEEN, SEEN)}


def test_also_by_the_classifier_of_the_supervised_baseline(dataset: Dataset) -> None:
    sides: set[tuple[int, ...]] = set()
    evaluate(judge_of(dataset, sides, loss__name="cross_entropy"), ["classifier"])
    assert sides == {(SEEN, SEEN)}
