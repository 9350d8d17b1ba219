"""Protocols against their twins: normal equations, a plain gradient descent, a frozen encoder."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.knn import NEIGHBOURS, TEMPERATURE, knn, knn_scores
from simclr_lab.evaluation.labelled import Labelled, LabelledImages, LabelledSplits
from simclr_lab.evaluation.linear import fit_logistic, linear
from simclr_lab.evaluation.metrics import top1
from simclr_lab.evaluation.protocols import Judge, evaluate
from simclr_lab.evaluation.ridge import STRENGTHS, ridge
from simclr_lab.evaluation.standardize import standardizer


def blobs(n: int, seed: int, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Four overlapping clouds in six dimensions, one of them constant."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(4, 6, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(n) % 4
    x = centers[labels] + spread * torch.randn(n, 6, generator=generator)
    x[:, 5] = 3.0
    return x, labels


def test_standardised_features_have_mean_0_and_deviation_1() -> None:
    x, _ = blobs(500, 0)
    scaled = standardizer(x)(x)
    assert torch.allclose(scaled[:, :5].mean(dim=0), torch.zeros(5), atol=1e-5)
    assert torch.allclose(scaled[:, :5].std(dim=0, correction=0), torch.ones(5), atol=1e-5)
    assert not scaled[:, 5].any()


def test_ridge_equals_the_normal_equations() -> None:
    (x, y), (v, w) = blobs(300, 0), blobs(200, 1)
    found = ridge(x, y, v, w)
    scale = standardizer(x)
    a, b = scale(x).double().numpy(), scale(v).double().numpy()
    target = np.eye(4)[y.numpy()]
    best = (-1.0, 0.0)
    for strength in sorted(STRENGTHS, reverse=True):
        gram = a.T @ a + strength * len(a) * np.eye(6)
        weights = np.linalg.solve(gram, a.T @ (target - target.mean(axis=0)))
        scores = torch.from_numpy(b @ weights + target.mean(axis=0))
        value = top1(scores, w)
        if value > best[0]:
            best = (value, strength)
    assert (found["val_top1"], found["strength"]) == best
    assert 60 < best[0] < 100


def test_logistic_regression_is_at_its_minimum() -> None:
    """The gradient of mean cross entropy + strength / 2 |W|^2 vanishes at the fit."""
    x, y = blobs(400, 0)
    strength = 0.01
    model = fit_logistic(Labelled(x, y), strength)
    weights = torch.tensor(model.coef_, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(model.intercept_, dtype=torch.float64, requires_grad=True)
    logits = x.double() @ weights.T + bias
    loss = nn.functional.cross_entropy(logits, y) + strength / 2 * weights.square().sum()
    gradients = torch.autograd.grad(loss, [weights, bias])
    assert max(float(g.abs().max()) for g in gradients) < 2e-3
    plain = nn.functional.cross_entropy(x.double() @ weights.T + bias, y)
    without_penalty = torch.autograd.grad(plain, weights)[0]
    assert float(without_penalty.abs().max()) > 5e-3  # the check above has teeth


def test_linear_chooses_on_validation_and_reads_test_once() -> None:
    fit, val, test = (Labelled(*blobs(n, s)) for n, s in ((300, 0), (200, 1), (5000, 2)))
    measured = linear(fit, val, test)
    found = measured.metrics
    assert 60 < found["test_top1"] < 100
    hits = (measured.arrays["test_predictions"] == test.labels).double().mean()
    assert 100 * float(hits) == found["test_top1"]
    without = linear(fit, val, None)
    assert without.metrics == {k: v for k, v in found.items() if k != "test_top1"}
    assert not without.arrays
    swapped = linear(fit, val, Labelled(test.features, (test.labels + 1) % 4)).metrics
    assert (swapped["val_top1"], swapped["strength"]) == (found["val_top1"], found["strength"])
    assert swapped["test_top1"] < 25


def test_refit_sees_the_validation_images_too() -> None:
    fit, test = Labelled(*blobs(12, 0, 2.5)), Labelled(*blobs(5000, 2, 2.5))
    val = Labelled(*blobs(2000, 1, 2.5))
    plain, refit = (linear(fit, val, test, refit=r).metrics for r in ("train", "train+val"))
    assert plain["strength"] == refit["strength"]
    assert refit["test_top1"] > plain["test_top1"] + 2


def test_nearest_neighbours_equal_their_loop() -> None:
    (x, y), (v, _) = blobs(60, 0), blobs(15, 1)
    fast = knn_scores(x, y, v, neighbours=9, temperature=0.1)
    for i in range(15):
        cosines = [float(v[i] @ row / (v[i].norm() * row.norm())) for row in x]
        nearest = sorted(range(60), key=lambda j: -cosines[j])[:9]
        votes = [
            sum(math.exp(cosines[j] / 0.1) for j in nearest if int(y[j]) == c) for c in range(4)
        ]
        assert fast[i].tolist() == pytest.approx(votes, rel=1e-4)


def test_nearest_neighbours_of_separate_clouds_and_of_few_rows() -> None:
    x = torch.eye(4).repeat(5, 1)
    y = torch.arange(4).repeat(5)
    found = knn(Labelled(x, y), Labelled(3 * x, y), None)  # all 20 vote; the nearest weigh most
    assert found.metrics == {"val_top1": 100.0}


def at_angles(*groups: tuple[int, float]) -> Labelled:
    """Unit vectors in the plane: of each class so many, at that cosine to (1, 0)."""
    rows = [[cosine, math.sqrt(1 - cosine**2)] for count, cosine in groups for _ in range(count)]
    labels = [label for label, (count, _) in enumerate(groups) for _ in range(count)]
    return Labelled(torch.tensor(rows), torch.tensor(labels))


@pytest.mark.parametrize(
    ("groups", "winner"),
    [
        # By 20 neighbours class 0 would win, by all 400 class 2.
        ([(30, 0.99), (170, 0.97), (200, 0.96)], 1),
        # 190 exp(-0.31 / t) against 10: from a temperature of 0.105 on class 1 would win,
        ([(10, 1.0), (190, 0.69)], 0),
        # and up to one of 0.095 class 0 here.
        ([(10, 1.0), (190, 0.72)], 1),
    ],
)
def test_the_protocol_asks_200_neighbours_at_temperature_0_1(groups, winner: int) -> None:
    assert (NEIGHBOURS, TEMPERATURE) == (200, 0.1)
    asked = Labelled(torch.tensor([[1.0, 0.0]]), torch.tensor([winner]))
    assert knn(at_angles(*groups), asked, None).metrics == {"val_top1": 100.0}
    for label in set(range(len(groups))) - {winner}:
        wrong = Labelled(asked.features, torch.tensor([label]))
        assert knn(at_angles(*groups), wrong, None).metrics == {"val_top1": 0.0}


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.norm(x)).mean(dim=(2, 3))


def images(n: int) -> LabelledImages:
    labels = torch.arange(n) % 3
    pictures = torch.randint(0, 100, (n, 3, 4, 4), generator=torch.Generator().manual_seed(n))
    pictures[torch.arange(n), labels] += 60
    return LabelledImages(pictures.to(torch.uint8), labels)


def test_features_come_from_a_frozen_encoder() -> None:
    encoder = Encoder().train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    part = images(2300).images  # more than two chunks
    features = Frozen(encoder).h(part)
    assert encoder.training
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    plain = (part.float() / 255 / (1 + 1e-5) ** 0.5).mean(dim=(2, 3))
    assert torch.allclose(features, plain, atol=1e-6)
    assert not features.requires_grad


def test_evaluate_names_its_metrics_and_touches_test_only_for_linear() -> None:
    splits = LabelledSplits(images(300), images(200), images(400))
    judge = Judge(Frozen(Encoder()), splits)
    found = evaluate(judge, ["ridge", "linear"]).metrics
    assert set(found) == {
        "ridge/val_top1",
        "ridge/strength",
        "linear/val_top1",
        "linear/strength",
        "linear/test_top1",
    }
    assert min(value for name, value in found.items() if name.endswith("top1")) > 90
    assert set(evaluate(judge, ["ridge"]).metrics) == {"ridge/val_top1", "ridge/strength"}
    assert set(evaluate(judge, ["knn"]).metrics) == {"knn/val_top1", "knn/test_top1"}
    assert set(evaluate(judge, ["knn", "ridge"]).arrays) == {"knn/test_predictions"}


def test_features_are_extracted_once_and_test_features_only_when_asked_for() -> None:
    splits = LabelledSplits(images(300), images(200), images(400))
    sizes: list[int] = []

    class Counting(Encoder):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            return super().forward(x)

    judge = Judge(Frozen(Counting()), splits)
    evaluate(judge, ["ridge"])
    assert sizes == [300, 200]
    evaluate(judge, ["linear", "knn"])
    assert sizes == [300, 200, 400]


def test_z_needs_a_head_and_is_judged_like_h() -> None:
    splits = LabelledSplits(images(300), images(200), images(400))
    with pytest.raises(ValueError, match="needs a projection head"):
        evaluate(Judge(Frozen(Encoder()), splits), ["linear_z"])
    blind = nn.Linear(3, 2, bias=False)
    nn.init.zeros_(blind.weight)
    found = evaluate(Judge(Frozen(Encoder(), blind), splits), ["linear", "linear_z"]).metrics
    assert found["linear/test_top1"] > 90
    assert found["linear_z/test_top1"] < 45


def test_float_images_are_taken_as_they_are() -> None:
    frozen = Frozen(Encoder())
    part = images(50).images
    assert torch.allclose(frozen.h(part), frozen.h(part.float() / 255), atol=1e-6)


def test_unknown_protocols_are_refused() -> None:
    with pytest.raises(ValueError, match=r"protocols \['magic'\]; allowed: ridge, linear"):
        evaluate(Judge(Frozen(Encoder()), LabelledSplits(images(9), images(9))), ["magic"])
