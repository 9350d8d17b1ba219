"""Exact resume: killed anywhere and continued, the same bits as undisturbed."""

import copy
import io
from pathlib import Path

import pytest
import torch
from small import pictures, small_dataset, small_recipe

from simclr_lab.cell import Outcome
from simclr_lab.recipe import Recipe
from simclr_lab.training.events import CellEnded, CellEpoch, CellStarted
from simclr_lab.training.loop import Pretraining
from simclr_lab.training.run_cell import CellRun, CellTask


def run_of(recipe: Recipe, seed: int = 0) -> Pretraining:
    rows = torch.arange(48)
    images = pictures(size=recipe.data.image_size)
    return Pretraining(recipe, seed, images, rows, labels=rows % 10)


def through_a_file(state: dict) -> dict:
    """What the state is after it was written and read by plain loading."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def equal_states(first: dict, second: dict) -> bool:
    a, b = first["model"], second["model"]
    return first["step"] == second["step"] and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("optimizer", ["lars", "sgd", "adamw"])
@pytest.mark.parametrize("batch_size", [16, 20])
def test_continued_equals_undisturbed(optimizer: str, batch_size: int) -> None:
    """Mid-schedule, after warm-up, with momentum; at 20 images a batch straddles the epochs."""
    recipe = small_recipe(
        optimizer__name=optimizer,
        optimizer__learning_rate=0.01,
        batch_size=batch_size,
        epochs=4,
        augment__blur_probability=0.5,
        data__image_size=32,  # at 16 pixels the kernel is one pixel wide
    )
    whole = run_of(recipe)
    reports, states = [], []
    for epoch in whole.epochs():
        reports.append(epoch)
        states.append(copy.deepcopy(whole.state_dict()))
    assert 0 < states[1]["step"] < recipe.total_steps - 2
    assert states[1]["step"] > recipe.warmup_steps
    for index, state in enumerate(states[:-1]):
        continued = run_of(recipe)
        continued.load_state_dict(through_a_file(state))
        assert list(continued.epochs()) == reports[index + 1 :]
        assert equal_states(continued.state_dict(), whole.state_dict())


def test_same_recipe_and_seed_same_bits_other_seed_others() -> None:
    recipe = small_recipe(epochs=2)
    first, again, other = (run_of(recipe, seed) for seed in (0, 0, 1))
    torch.manual_seed(5)
    histories = [list(run.epochs()) for run in (first, again, other)]
    assert histories[0] == histories[1]
    assert equal_states(first.state_dict(), again.state_dict())
    assert histories[0] != histories[2]


def test_training_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(run_of(small_recipe(epochs=1)).epochs())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("semi_hard", [False, True])
@pytest.mark.parametrize("name", ["nt_xent", "nt_logistic", "margin_triplet", "cross_entropy"])
def test_every_loss_trains(name: str, semi_hard: bool) -> None:
    run = run_of(small_recipe(loss__name=name, loss__semi_hard=semi_hard, epochs=2))
    before = [p.detach().clone() for p in run.model.encoder.parameters()]
    metrics = [epoch.metrics for epoch in run.epochs()]
    assert all(abs(value) < 1e6 for epoch in metrics for value in epoch.values())
    after = list(run.model.encoder.parameters())
    assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("operators", "branches"),
    [
        (["crop", "rotate", "cutout", "noise", "sobel"], "both"),
        (["sobel"], "both"),
        (["cutout", "color"], "second"),
    ],
)
def test_every_policy_trains(operators: list[str], branches: str) -> None:
    run = run_of(small_recipe(augment__operators=operators, augment__branches=branches, epochs=1))
    (epoch,) = run.epochs()
    assert 0 < epoch.metrics["train/loss"] < 100


def test_the_supervised_baseline_learns_its_labels(tmp_path: Path, dataset) -> None:
    recipe = small_recipe(
        **CELL
        | {
            "loss__name": "cross_entropy",
            "optimizer__name": "adamw",
            "optimizer__learning_rate": 0.001,
            "optimizer__learning_rate_rule": "none",
            "data__pretrain_images": 480,
            "epochs": 6,
        }
    )
    events = list(CellRun(task(tmp_path, recipe), dataset).events())
    reports = [e.report.metrics for e in events if isinstance(e, CellEpoch)]
    top1 = [metrics["train/top1"] for metrics in reports if "train/top1" in metrics]
    assert top1[-1] > top1[0] + 5
    assert "train/contrastive_accuracy" not in events[-1].metrics
    assert {"linear/test_top1", "ridge/val_top1"} <= set(events[-1].metrics)


def test_labels_are_needed_only_by_the_supervised_baseline() -> None:
    Pretraining(small_recipe(), 0, pictures(), torch.arange(48))
    with pytest.raises(ValueError, match="needs labels"):
        Pretraining(small_recipe(loss__name="cross_entropy"), 0, pictures(), torch.arange(48))


def test_channels_last_changes_only_the_rounding() -> None:
    plain, last = (
        run_of(small_recipe(epochs=1, compute__channels_last=flag, compute__precision="float64"))
        for flag in (False, True)
    )
    losses = [[e.metrics["train/loss"] for e in run.epochs()] for run in (plain, last)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


@pytest.fixture(scope="module")
def dataset():
    return small_dataset()


def task(folder: Path, recipe: Recipe, key: str = "key") -> CellTask:
    return CellTask(key, recipe, 0, str(folder))


CELL = {"epochs": 3, "evaluation__protocols": ["ridge", "linear"]}


def metrics_of(events: list) -> list[tuple[int, dict[str, float]]]:
    """What repeats bit for bit: everything but what the machine cost."""
    return [
        (e.report.step, {n: v for n, v in e.report.metrics.items() if not n.startswith("cost/")})
        for e in events
        if isinstance(e, CellEpoch)
    ]


@pytest.mark.slow
def test_a_cell_killed_after_any_event_ends_with_the_same_bits(tmp_path: Path, dataset) -> None:
    recipe = small_recipe(**CELL)
    whole = list(CellRun(task(tmp_path / "whole", recipe), dataset).events())
    assert isinstance(whole[0], CellStarted)
    assert isinstance(whole[-1], CellEnded)
    final = CellRun(task(tmp_path / "whole", recipe), dataset).store.load_final()
    for stop_after in range(1, len(whole)):
        folder = tmp_path / str(stop_after)
        events = CellRun(task(folder, recipe), dataset).events()
        told = [next(events) for _ in range(stop_after)]
        del events  # the process is gone; only files remain
        rest = list(CellRun(task(folder, recipe), dataset).events())
        assert isinstance(rest[0], CellStarted)
        reports = [e.report for e in told if isinstance(e, CellEpoch)]
        assert list(rest[0].history[: len(reports)]) == reports  # told again with its old stamps
        assert metrics_of(told) + metrics_of(rest) == metrics_of(whole)
        again = CellRun(task(folder, recipe), dataset).store.load_final()
        for name, value in final["encoder"].items():
            assert torch.equal(again["encoder"][name], value), name
        assert rest[-1].outcome is Outcome.OK


def test_a_finished_cell_tells_its_history_and_computes_nothing(tmp_path: Path, dataset) -> None:
    recipe = small_recipe(**CELL)
    first = list(CellRun(task(tmp_path, recipe), dataset).events())
    again = list(CellRun(task(tmp_path, recipe), dataset).events())
    assert [type(e) for e in again] == [CellStarted, CellEnded]
    assert (first[0].finished, again[0].finished) == (False, True)
    assert [r for e in first if isinstance(e, CellEpoch) for r in [e.report]] == list(
        again[0].history
    )
    assert again[-1] == first[-1]
    for name, array in first[-1].arrays.items():
        assert (again[-1].arrays[name] == array).all()


def test_a_missing_evaluation_is_run_from_the_kept_encoder(tmp_path: Path, dataset) -> None:
    recipe = small_recipe(**CELL | {"evaluation__protocols": ["ridge"]})
    list(CellRun(task(tmp_path, recipe), dataset).events())
    wanted = recipe.with_fields({"evaluation.protocols": ["ridge", "linear"]})
    events = list(CellRun(task(tmp_path, wanted), dataset).events())
    assert [type(e) for e in events] == [CellStarted, CellEpoch, CellEnded]
    assert "linear/test_top1" in events[-1].metrics
    whole = list(CellRun(task(tmp_path / "whole", wanted), dataset).events())
    for name in ("linear/test_top1", "linear/val_top1"):
        assert events[-1].metrics[name] == whole[-1].metrics[name]


def test_a_diverged_cell_ends_as_a_result(tmp_path: Path, dataset, monkeypatch) -> None:
    monkeypatch.setattr(
        "simclr_lab.training.build.nt_xent", lambda z_a, z_b, **_: (z_a * float("nan")).sum()
    )
    recipe = small_recipe(**CELL)
    events = list(CellRun(task(tmp_path, recipe), dataset).events())
    assert events[-1].outcome is Outcome.DIVERGED
    assert "linear/test_top1" not in events[-1].metrics
    again = list(CellRun(task(tmp_path, recipe), dataset).events())
    assert again[-1].outcome is Outcome.DIVERGED
    assert [type(e) for e in again] == [CellStarted, CellEnded]


@pytest.mark.parametrize("last", [False, True])
def test_weights_that_are_no_numbers_are_divergence_too(
    tmp_path: Path, dataset, monkeypatch, last: bool
) -> None:
    """Every loss was finite: the last update of an epoch made the weights NaN."""
    recipe = small_recipe(**CELL)
    epoch_ends = recipe.total_steps if last else recipe.pretrain_images // recipe.batch_size + 1
    one_step = Pretraining._one_step

    def spoiled(run: Pretraining, wrapped: torch.nn.Module) -> torch.Tensor:
        values = one_step(run, wrapped)
        if run.step + 1 == epoch_ends:
            with torch.no_grad():
                run.model.encoder.conv1.weight.fill_(float("nan"))
        return values

    monkeypatch.setattr(Pretraining, "_one_step", spoiled)
    events = list(CellRun(task(tmp_path, recipe), dataset).events())
    assert events[-1].outcome is Outcome.DIVERGED
    assert torch.isfinite(torch.tensor(events[-1].metrics["train/loss"]))
    assert "linear/test_top1" not in events[-1].metrics
    assert sum(isinstance(e, CellEpoch) for e in events) == (recipe.epochs if last else 1)


def test_an_encoder_whose_h_overflows_has_diverged(tmp_path: Path, dataset, monkeypatch) -> None:
    monkeypatch.setattr("simclr_lab.training.checks.Embedded.finite", False)
    events = list(CellRun(task(tmp_path, small_recipe(**CELL)), dataset).events())
    assert events[-1].outcome is Outcome.DIVERGED
    assert sum(isinstance(e, CellEpoch) for e in events) == 1


def test_a_collapsed_cell_is_seen_and_evaluated(tmp_path: Path, dataset, monkeypatch) -> None:
    monkeypatch.setattr("simclr_lab.training.checks.COLLAPSED_STD", 1e9)
    events = list(CellRun(task(tmp_path, small_recipe(**CELL)), dataset).events())
    assert events[-1].outcome is Outcome.COLLAPSED
    assert "linear/test_top1" in events[-1].metrics


@pytest.mark.parametrize("kind", [{"epochs": 0}, {"encoder__kind": "raw_pixels"}])
def test_references_are_evaluated_without_training(tmp_path: Path, dataset, kind) -> None:
    events = list(CellRun(task(tmp_path, small_recipe(**CELL | kind)), dataset).events())
    assert [type(e) for e in events] == [CellStarted, CellEpoch, CellEnded]
    assert {"ridge/val_top1", "linear/test_top1"} <= set(events[-1].metrics)
