"""What evaluations of a cell look at, and that everything they leave behind outlives a crash."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import small_dataset, small_recipe

from simclr_lab.data.label_fractions import label_fraction_indices
from simclr_lab.data.sources import Dataset
from simclr_lab.evaluation.transfer import TransferFinetuneSettings
from simclr_lab.training import judging
from simclr_lab.training.build import build_model
from simclr_lab.training.events import CellEnded
from simclr_lab.training.judging import build_judge, transfer_target
from simclr_lab.training.run_cell import CellRun
from simclr_lab.training.task import CellTask

MORE = [
    "ridge",
    "linear",
    "finetune_1pct",
    "transfer_fashion_mnist",
    "transfer_finetune_fashion_mnist",
    "tsne",
]
BRIEF = {
    "evaluation__finetune_epochs_1pct": 2,
    "evaluation__transfer_fit_images": 300,
    "evaluation__transfer_strengths": 3,
    "evaluation__transfer_steps": 5,
    "evaluation__transfer_learning_rates": [0.01],
    "evaluation__transfer_weight_decays": [0.0],
    "evaluation__tsne_images": 60,
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return small_dataset()


def other(size: int = 12) -> Dataset:
    """A dataset to transfer to, of another size, three classes, scored per class."""
    whole = small_dataset(size)
    names = ("a", "b", "c")
    return replace(
        whole,
        name="fashion_mnist",
        train_images=whole.train_images[:600],
        train_labels=whole.train_labels[:600] % 3,
        test_images=whole.test_images[:200],
        test_labels=whole.test_labels[:200] % 3,
        classes=names,
        metric="mean_per_class",
    )


def ended(recipe, folder: Path, dataset: Dataset) -> CellEnded:
    events = list(CellRun(CellTask("k", recipe, 0, str(folder)), dataset).events())
    assert isinstance(events[-1], CellEnded)
    return events[-1]


def test_evaluations_asked_for_later_leave_the_encoder_alone_and_their_arrays_stay(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "load_dataset", lambda name: other())
    ended(small_recipe(epochs=1, evaluation__protocols=["ridge"]), tmp_path, dataset)
    final = tmp_path / "cells" / "k" / "0" / "final.pt"
    before = torch.load(final, weights_only=True)["encoder"]
    more = small_recipe(epochs=1, evaluation__protocols=MORE, **BRIEF)
    end = ended(more, tmp_path, dataset)
    after = torch.load(final, weights_only=True)["encoder"]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert set(end.evaluations) == set(MORE)
    assert {n for n in end.arrays if n.endswith("predictions")} == {
        f"{p}/test_predictions" for p in MORE if p not in ("ridge", "tsne")
    }
    assert end.arrays["tsne/h"].shape == (60, 2)
    hits = (end.arrays["linear/test_predictions"] == dataset.test_labels).mean()
    assert end.metrics["linear/test_top1"] == pytest.approx(100 * hits)
    assert end.metrics["finetune_1pct/fit_images"] == 450
    assert 0 < end.metrics["transfer_fashion_mnist/test_mean_per_class"] < 100
    again = ended(more, tmp_path, dataset)  # nothing is computed, everything is told again
    assert again.metrics == end.metrics
    assert set(again.arrays) == set(end.arrays)


def test_a_changed_setting_repeats_its_own_protocol_only(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "load_dataset", lambda name: other())
    first = small_recipe(epochs=0, evaluation__protocols=MORE, **BRIEF)
    ended(first, tmp_path, dataset)
    changed = small_recipe(
        epochs=0, evaluation__protocols=MORE, **BRIEF | {"evaluation__finetune_epochs_1pct": 1}
    )
    run = CellRun(CellTask("k", changed, 0, str(tmp_path)), dataset)
    assert run._restore()
    assert set(run.missing_evaluations()) == {"finetune_1pct"}


def test_a_random_encoder_is_fine_tuned_by_the_papers_other_grid(dataset: Dataset) -> None:
    for epochs, expected in ((3, TransferFinetuneSettings()), (0, None)):
        recipe = small_recipe(epochs=epochs)
        judge = build_judge(
            recipe, build_model(recipe, 0), dataset, device=torch.device("cpu"), test=False
        )
        wanted = expected or TransferFinetuneSettings().from_scratch()
        found = judge.settings.transfer_finetune
        assert (found.steps, found.batch_size) == (wanted.steps, wanted.batch_size)
        assert found.learning_rates == pytest.approx(wanted.learning_rates)
        assert found.weight_decays == pytest.approx(wanted.weight_decays)
        assert judge.splits.test is None


def test_few_labels_are_the_listed_ones(dataset: Dataset) -> None:
    recipe = small_recipe(epochs=0)
    judge = build_judge(
        recipe, build_model(recipe, 0), dataset, device=torch.device("cpu"), test=False
    )
    assert judge.few is not None
    for protocol, percent in (("finetune_1pct", 1), ("finetune_10pct", 10)):
        rows = label_fraction_indices("cifar10", dataset.train_labels, percent)
        few = judge.few(protocol)
        assert torch.equal(few.labels, torch.from_numpy(dataset.train_labels[rows]))
        assert torch.equal(few.images, torch.from_numpy(dataset.train_images[rows]))


def test_the_parts_of_a_target_share_no_image() -> None:
    target = transfer_target(other(), "all")
    assert [len(p.images) for p in (target.splits.fit, target.splits.val)] == [540, 60]
    assert len(transfer_target(other(), 100).splits.fit.images) == 100
    assert len(transfer_target(other(), 10_000).splits.fit.images) == 540
    assert (target.classes, target.metric) == (3, "mean_per_class")
