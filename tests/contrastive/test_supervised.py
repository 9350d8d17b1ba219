"""The supervised baseline's parts against plain loops."""

import math

import pytest
import torch

from simclr_lab.contrastive.supervised import classifier, cross_entropy, views_top1


def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    return z[0], z[1], torch.tensor([0, 2, 1, 1, 0])


def test_cross_entropy_equals_its_loop() -> None:
    z_a, z_b, labels = problem()
    total = 0.0
    for z in (z_a, z_b):
        for row, label in zip(z.tolist(), labels.tolist(), strict=True):
            total += math.log(sum(math.exp(x) for x in row)) - row[label]
    assert float(cross_entropy(z_a, z_b, labels)) == pytest.approx(total / 10)


def test_a_new_classifier_guesses() -> None:
    logits = classifier(4, 10)(torch.rand(6, 4))
    labels = torch.zeros(6, dtype=torch.int64)
    assert float(cross_entropy(logits, logits, labels).detach()) == pytest.approx(math.log(10))


def test_top1_counts_both_views() -> None:
    z_a = torch.eye(3)
    z_b = torch.eye(3).roll(1, dims=1)
    assert float(views_top1(z_a, z_b, torch.arange(3))) == pytest.approx(50.0)
