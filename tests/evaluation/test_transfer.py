"""Transfer: the paper's grids, choice on validation, one look at test; one label or several."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from simclr_lab.contrastive.batch_norm import GroupBatchNorm
from simclr_lab.contrastive.encoder import RawPixels
from simclr_lab.evaluation import transfer
from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.finetune import fine_tuned
from simclr_lab.evaluation.labelled import Labelled, LabelledImages, LabelledSplits
from simclr_lab.evaluation.linear import class_scores, fit_logistic
from simclr_lab.evaluation.metrics import correct
from simclr_lab.evaluation.resizing import centred
from simclr_lab.evaluation.transfer import (
    Target,
    TransferFinetuneSettings,
    TransferSettings,
    transfer_finetune,
    transfer_linear,
)

SETTINGS = TransferSettings(strengths=6)


class Means(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = GroupBatchNorm(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(self.norm(x), 2).flatten(1)


def tinted(n: int, seed: int, classes: int = 3) -> LabelledImages:
    made = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    tints = torch.tensor([[50, 0, 0], [0, 50, 0], [0, 0, 50]])[:classes]
    pixels = torch.randint(40, 120, (n, 3, 8, 8), generator=made)
    shift = torch.randint(-30, 31, (n, 3, 1, 1), generator=made)
    return LabelledImages(
        (pixels + shift + tints[labels][:, :, None, None]).clamp(0, 255).to(torch.uint8), labels
    )


def target(classes: int = 3, metric: str = "top1") -> Target:
    parts = (tinted(n, seed, classes) for n, seed in ((240, 0), (90, 1), (600, 2)))
    return Target(LabelledSplits(*parts), classes, metric)


def several(n: int, seed: int) -> LabelledImages:
    """Each image has each of three colours or not."""
    made = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (n, 3), generator=made)
    pixels = torch.randint(40, 120, (n, 3, 8, 8), generator=made)
    shift = torch.randint(-40, 41, (n, 3, 1, 1), generator=made) + 60 * labels[:, :, None, None]
    return LabelledImages((pixels + shift).clamp(0, 255).to(torch.uint8), labels)


def test_the_papers_grids() -> None:
    pretrained = TransferFinetuneSettings()
    assert pretrained.steps == 20_000
    assert pretrained.learning_rates == pytest.approx(np.geomspace(1e-4, 0.1, 7))
    assert pretrained.weight_decays == pytest.approx([*np.geomspace(1e-6, 1e-3, 7), 0])
    scratch = pretrained.from_scratch()
    assert scratch.steps == 40_000
    assert scratch.learning_rates == pytest.approx(np.geomspace(1e-3, 1, 7))
    assert scratch.weight_decays == pytest.approx(np.geomspace(1e-5, 10**-1.5, 8))


def test_linear_chooses_on_validation_and_trains_again_on_both() -> None:
    frozen, data = Frozen(Means()), target()
    found = transfer_linear(frozen, data, SETTINGS)
    fit, val, test = (
        Labelled(frozen.h(p.images), p.labels)
        for p in (data.splits.fit, data.splits.val, data.splits.test)
    )
    best: tuple[float, float] = (-1.0, 0.0)
    for strength in np.geomspace(1e5, 1e-6, 6):
        model = fit_logistic(fit, strength / len(fit.labels))
        hits = class_scores(model, val.features, 3).argmax(dim=1) == val.labels
        best = max(best, (100 * float(hits.double().mean()), strength))
    assert found.metrics["val_top1"] == pytest.approx(best[0], abs=1.2)
    both = fit + val
    model = fit_logistic(both, found.metrics["strength"] / len(both.labels))
    hits = class_scores(model, test.features, 3).argmax(dim=1) == test.labels
    assert found.metrics["test_top1"] == pytest.approx(100 * float(hits.double().mean()), abs=0.5)
    assert 60 < found.metrics["test_top1"] < 100


def test_test_labels_change_nothing_but_the_test_metric() -> None:
    data = target()
    honest = transfer_linear(Frozen(Means()), data, SETTINGS)
    test = data.splits.test
    wrong = LabelledImages(test.images, (test.labels + 1) % 3)
    swapped = Target(LabelledSplits(data.splits.fit, data.splits.val, wrong), 3)
    other = transfer_linear(Frozen(Means()), swapped, SETTINGS)
    same = {n: v for n, v in honest.metrics.items() if not n.startswith("test")}
    assert {n: v for n, v in other.metrics.items() if not n.startswith("test")} == same
    assert other.metrics["test_top1"] < 40


@pytest.mark.parametrize(("classes", "metric"), [(2, "top1"), (3, "mean_per_class")])
def test_two_classes_and_the_metric_of_the_dataset(classes: int, metric: str) -> None:
    found = transfer_linear(Frozen(Means()), target(classes, metric), SETTINGS)
    assert {"val_" + metric, "test_" + metric, "strength"} == set(found.metrics)
    assert found.metrics["test_" + metric] > 60


def test_several_labels_an_image() -> None:
    parts = [several(n, seed) for n, seed in ((200, 0), (80, 1), (300, 2))]
    data = Target(LabelledSplits(*parts), 3, "map11")
    found = transfer_linear(Frozen(Means()), data, SETTINGS)
    assert 90 < found.metrics["test_map11"] < 100
    hits = correct(found.arrays["test_predictions"], parts[2].labels)
    assert float(hits.double().mean()) > 0.6
    grid = TransferFinetuneSettings(60, 40, (0.1,), (0.0,))
    tuned = transfer_finetune(Frozen(Means()), data, grid, "several")
    assert tuned.metrics["test_map11"] > 85


def test_a_class_without_a_fitted_image_never_wins() -> None:
    rows = Labelled(torch.eye(2).repeat(10, 1), torch.tensor([0, 2]).repeat(10))
    scores = class_scores(fit_logistic(rows, 0.01), rows.features, 4)
    assert scores.argmax(dim=1).tolist() == rows.labels.tolist()
    assert bool((scores[:, [1, 3]] == -torch.inf).all())


def test_finetuning_tries_every_point_and_trains_the_best_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def remember(frozen, data, *, descent, batch_norm_momentum, **rest) -> Frozen:
        tried.append((len(data.images), descent, batch_norm_momentum))
        return fine_tuned(
            frozen, data, descent=descent, batch_norm_momentum=batch_norm_momentum, **rest
        )

    monkeypatch.setattr(transfer, "fine_tuned", remember)
    grid = TransferFinetuneSettings(25, 20, (1e-5, 0.5), (1e-3, 0.0))
    found = transfer_finetune(Frozen(Means()), target(), grid, "tinted")
    points = [(d.learning_rate, d.weight_decay) for _, d, _ in tried]
    assert points[:4] == [(1e-5, 1e-3 / 1e-5), (1e-5, 0), (0.5, 1e-3 / 0.5), (0.5, 0)]
    assert [n for n, _, _ in tried] == [240] * 4 + [330]
    assert {m for _, _, m in tried} == {0.1}  # short epochs: the usual average
    chosen = found.metrics["learning_rate"], found.metrics["weight_decay"]
    scores = [
        transfer_finetune(
            Frozen(Means()),
            target(),
            TransferFinetuneSettings(25, 20, (rate,), (decay,)),
            "tinted",
        ).metrics["val_top1"]
        for rate, decay in itertools.product((1e-5, 0.5), (1e-3, 0.0))
    ]
    assert found.metrics["val_top1"] == max(scores) > min(scores)
    assert chosen == list(itertools.product((1e-5, 0.5), (1e-3, 0.0)))[scores.index(max(scores))]
    last = tried[4][1]
    assert (last.learning_rate, last.weight_decay) == (chosen[0], chosen[1] / chosen[0])
    assert found.metrics["test_top1"] > 60


def test_long_epochs_slow_the_running_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """App. B.8: the average keeps max(1 - 10/s, 0.9), s steps an epoch; here s is 240."""
    seen = []
    monkeypatch.setattr(
        transfer,
        "fine_tuned",
        lambda frozen, data, **k: seen.append(k["batch_norm_momentum"]) or _fake(k),
    )
    transfer_finetune(
        Frozen(Means()), target(), TransferFinetuneSettings(1, 1, (0.1,), (0.0,)), "x"
    )
    assert seen == [pytest.approx(10 / 240), pytest.approx(10 / 330)]


def _fake(arguments: dict) -> Frozen:
    return Frozen(Means(), nn.Linear(12, arguments["classes"]))


def test_images_of_another_size_are_brought_to_the_encoders_own() -> None:
    """Raw pixels are as many numbers as the encoder's size says, whatever the target's images."""
    frozen = Frozen(RawPixels(6), size=6)
    assert frozen.h(tinted(5, 0).images).shape == (5, 108)
    assert transfer_linear(frozen, target(), SETTINGS).metrics["test_top1"] > 60
    grid = TransferFinetuneSettings(40, 40, (0.1,), (0.0,))
    assert transfer_finetune(frozen, target(), grid, "tinted").metrics["test_top1"] > 60


def test_small_images_are_taken_whole_and_large_ones_at_their_centre() -> None:
    small = tinted(4, 0).images
    assert centred(small, 8) is small
    assert centred(small, 32).shape == (4, 3, 32, 32)
    assert centred(small, 32, 256 / 224).shape == (4, 3, 32, 32)
    wide = torch.zeros(1, 3, 60, 120, dtype=torch.uint8)
    wide[:, :, :, 40:80] = 200
    assert float(centred(wide, 40).float().mean()) > 100  # the dark sides are mostly cut away
    large = torch.zeros(1, 3, 224, 224, dtype=torch.uint8)
    large[:, :, 14:-14, 14:-14] = 200
    assert int(centred(large, 112, 256 / 224).min()) > 150  # the margin hides the dark border
    assert int(centred(large, 112).min()) < 50
