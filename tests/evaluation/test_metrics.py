"""Metrics of classifiers against loops and values worked out by hand."""

import pytest
import torch

from simclr_lab.evaluation.metrics import (
    METRICS,
    classification_loss,
    correct,
    map11,
    mean_per_class,
    predictions,
    top1,
    top5,
)


def scores(n: int, classes: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, classes, generator=torch.Generator().manual_seed(seed))


def some_labels(n: int, classes: int) -> torch.Tensor:
    return torch.randint(0, classes, (n,), generator=torch.Generator().manual_seed(1))


def test_top1_and_top5_equal_their_loops() -> None:
    values, labels = scores(200, 8), some_labels(200, 8)
    ranks = [sorted(range(8), key=lambda c: -float(row[c])) for row in values]
    first = sum(ranked[0] == int(y) for ranked, y in zip(ranks, labels, strict=True))
    five = sum(int(y) in ranked[:5] for ranked, y in zip(ranks, labels, strict=True))
    assert top1(values, labels) == pytest.approx(100 * first / 200)
    assert top5(values, labels) == pytest.approx(100 * five / 200)
    assert top5(values[:, :4], labels % 4) == 100.0


def test_mean_per_class_weighs_classes_not_images() -> None:
    values = torch.eye(3)[torch.tensor([0, 0, 0, 0, 1, 1, 0])]
    labels = torch.tensor([0, 0, 0, 0, 1, 0, 1])
    # class 0: 4 of 5 right; class 1: 1 of 2 right; class 2 does not occur
    assert mean_per_class(values, labels) == pytest.approx(100 * (4 / 5 + 1 / 2) / 2)
    assert top1(values, labels) == pytest.approx(100 * 5 / 7)


def average_precision(ranked: list[int]) -> float:
    """By its definition, one recall at a time, from 0/1 relevances in the order of the scores."""
    points = []
    for tenth in range(11):
        best = 0.0
        for end in range(1, len(ranked) + 1):
            if 10 * sum(ranked[:end]) >= tenth * sum(ranked):
                best = max(best, sum(ranked[:end]) / end)
        points.append(best)
    return sum(points) / 11


def test_11_point_map_equals_its_loop() -> None:
    values = scores(60, 5)
    labels = (scores(60, 5, seed=2) + values > 0.8).long()
    expected = []
    for c in range(5):
        order = sorted(range(60), key=lambda i: -float(values[i, c]))
        expected.append(average_precision([int(labels[i, c]) for i in order]))
    assert map11(values, labels) == pytest.approx(100 * sum(expected) / 5)


def test_11_point_map_by_hand() -> None:
    values = torch.tensor([[4.0], [3.0], [2.0], [1.0]])
    assert map11(values, torch.tensor([[1], [1], [0], [0]])) == pytest.approx(100)
    # relevant at ranks 1 and 4: precision 1 up to recall 0.5 (6 points), then 1/2 (5 points)
    assert map11(values, torch.tensor([[1], [0], [0], [1]])) == pytest.approx(100 * 8.5 / 11)
    # a class that does not occur is left out
    both = torch.tensor([[1, 0], [1, 0], [0, 0], [0, 0]])
    assert map11(values.expand(-1, 2), both) == pytest.approx(100)


def test_predictions_are_what_the_metric_counts() -> None:
    values, labels = scores(50, 6), some_labels(50, 6)
    hits = correct(predictions(values, labels), labels)
    assert 100 * float(hits.double().mean()) == top1(values, labels)
    several = (scores(50, 6, seed=3) > 0).long()
    assert not correct(predictions(values, several), several).all()
    assert correct(predictions(several - 0.5, several), several).all()


def test_the_loss_is_the_mean_of_minus_log_probabilities() -> None:
    values, labels = scores(20, 4), some_labels(20, 4)
    by_hand = [-float(row.softmax(0)[int(y)].log()) for row, y in zip(values, labels, strict=True)]
    assert float(classification_loss(values, labels)) == pytest.approx(sum(by_hand) / 20, rel=1e-5)
    several = (scores(20, 4, seed=3) > 0).long()
    p = torch.sigmoid(values.double())
    each = -(several * p.log() + (1 - several) * (1 - p).log())
    assert float(classification_loss(values, several)) == pytest.approx(
        float(each.mean()), rel=1e-5
    )


def test_datasets_can_name_every_metric() -> None:
    assert set(METRICS) == {"top1", "mean_per_class", "map11"}
