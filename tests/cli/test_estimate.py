"""What a plan says it costs, and what is refused before anything is recorded."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
from pretended import finished
from typer.testing import CliRunner

from simclr_lab.cell import CellRecord
from simclr_lab.cli import fitness, session
from simclr_lab.cli.app import app
from simclr_lab.cli.estimate import Estimate, Estimator, disk_bytes
from simclr_lab.cli.fitness import in_units, machine_memory, refuse_crowded, worker_memory
from simclr_lab.cli.plan_view import show_estimate
from simclr_lab.cli.prices import Prices, load_prices
from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.recipes import named_recipe
from simclr_lab.spaces.costs import encoder_numbers, head_numbers
from simclr_lab.training.build import build_model, build_optimizer
from simclr_lab.training.capacity import ClusterUnfit
from simclr_lab.training.probing import Probed, Prober, probe
from simclr_lab.tuning.plan import Action, PlannedCell

DEMO = named_recipe("demo")


def cell(action: Action = Action.RUN, workers: int = 1, **changes: object) -> PlannedCell:
    named = {name.replace("__", "."): value for name, value in changes.items()}
    recipe = DEMO.with_fields(named)
    return PlannedCell(f"key{len(named)}{workers}", "arm", 0, recipe, action, workers)


def estimator(
    tmp_path: Path,
    *,
    known: dict[str, CellRecord] | None = None,
    found: Probed | None = None,
    slots: int | None = 2,
    **given: object,
) -> Estimator:
    asked: list[tuple[Recipe, int]] = []

    def ask(recipe: Recipe, workers: int, limit: int | None) -> Probed:
        asked.append((recipe, workers))
        assert found is not None
        return found

    prober = Prober(tmp_path / "probes.json", "", None, lambda text: None, ask)
    made = Estimator(known or {}, prober, found is not None, "a cpu", slots, **given)
    made.asked = asked  # type: ignore[attr-defined]
    return made


def recorded(planned: PlannedCell, rate: float, hardware: str = "a cpu") -> CellRecord:
    metrics = {"cost/images_per_second": rate, "cost/evaluation_seconds": 36.0}
    record = finished(planned, metrics)
    return replace(record, world_size=planned.workers, tags={"hardware": hardware})


def test_hours_come_from_cells_of_the_same_shape(tmp_path: Path) -> None:
    done = recorded(cell(loss__temperature=0.9), 100.0)
    made = estimator(tmp_path, known={"a": done}, found=Probed(9.0, 1))
    cells = [cell(), cell(Action.REUSE), cell(Action.FAILED), cell(Action.EVALUATE)]
    estimate = made(cells)
    steps = DEMO.total_steps * DEMO.batch_size / 100.0
    assert estimate.worker_hours == pytest.approx((steps + 36.0 + 36.0) / 3600)
    assert estimate.hours == pytest.approx(max(steps + 36.0, (steps + 72.0) / 2) / 3600)
    assert estimate.evaluation_counted
    assert estimate.cells == 2
    assert made.asked == []


@pytest.mark.parametrize("other", ["another cpu", "workers"])
def test_another_machine_or_width_is_no_measurement(tmp_path: Path, other: str) -> None:
    done = recorded(
        cell(workers=2 if other == "workers" else 1),
        100.0,
        hardware="a gpu" if other == "another cpu" else "a cpu",
    )
    assert estimator(tmp_path, known={"a": done})([cell()]).worker_hours is None


def test_hours_come_from_a_probe_where_nothing_is_recorded(tmp_path: Path) -> None:
    made = estimator(tmp_path, found=Probed(0.5, 2**30))
    two = cell(workers=2)
    estimate = made([two, replace(two, key="b", seed=1), cell(), cell(epochs=0)])
    seconds = 0.5 * DEMO.total_steps
    assert estimate.worker_hours == pytest.approx((2 * seconds * 2 + seconds) / 3600)
    assert estimate.memory_bytes == 2**30
    assert not estimate.evaluation_counted
    assert estimate.widest == 2
    assert [workers for _, workers in made.asked] == [2, 1]  # a shape once


def test_nothing_is_said_where_one_shape_is_unknown(tmp_path: Path) -> None:
    made = estimator(tmp_path, known={"a": recorded(cell(), 10.0)})
    estimate = made([cell(), cell(batch_size=64)])
    assert estimate.worker_hours is None
    assert estimate.hours is None


def test_what_has_run_here_is_not_too_large_whatever_a_probe_said(tmp_path: Path) -> None:
    dead = Probed(out_of_memory=True)
    assert len(estimator(tmp_path, found=dead)([cell()]).too_large) == 1
    made = estimator(tmp_path, known={"a": recorded(cell(), 10.0)}, found=dead)
    assert made([cell()]).too_large == ()


def test_money(tmp_path: Path) -> None:
    made = estimator(tmp_path, found=Probed(1.0, 1), prices=Prices("EUR", worker_hour=2.0))
    estimate = made([cell()])
    assert estimate.price == (pytest.approx(2.0 * DEMO.total_steps / 3600), "EUR")
    assert Prices("EUR", worker_hour=2.0).of(3.0, on_gpus=True) is None
    assert Prices("EUR", gpu_hour=1.5).of(3.0, on_gpus=True) == pytest.approx(4.5)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (None, "cannot be read"),
        ("currency = ", "is not TOML"),
        ("worker_hour = 1.0", "currency: is None"),
        ("currency = 'USD'", "has no price"),
        ("currency = 'USD'\nworker_hour = -1", "worker_hour: is -1"),
        ("currency = 'USD'\nworker_hour = true", "worker_hour: is True"),
        ("currency = 'USD'\ngpu_hour = nan", "gpu_hour: is nan"),
        ("currency = 'USD'\nhour = 1.0", "hour: allowed: currency, worker_hour, gpu_hour"),
    ],
)
def test_price_files_that_are_none(tmp_path: Path, text: str | None, hint: str) -> None:
    path = tmp_path / "prices.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FieldError, match="--prices") as caught:
        load_prices(path)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"encoder.depth": 50, "encoder.channels": 8, "projection.depth": 3},
        {"encoder.depth": 34, "encoder.stem": "imagenet", "encoder.width": 2},
        {"encoder.depth": 101, "encoder.channels": 8, "projection.depth": 1},
        {"projection.depth": 0},
        {"epochs": 0},
        {"encoder.kind": "raw_pixels"},
    ],
)
def test_counted_numbers_are_those_of_the_model(changes: dict) -> None:
    recipe = DEMO.with_fields(changes)
    model = build_model(recipe, 0)

    def numbers(module) -> int:
        state = module.state_dict().items()
        return sum(t.numel() for n, t in state if "num_batches" not in n)

    assert encoder_numbers(recipe) == numbers(model.encoder)
    shift = recipe.projection.out_dim if recipe.trains and recipe.projection.depth else 0
    assert head_numbers(recipe) == numbers(model.head) + shift  # the last norm only scales


def test_disk_is_an_encoder_a_cell_and_two_checkpoints_of_what_runs(tmp_path: Path) -> None:
    import torch

    model = build_model(DEMO, 0)
    optimizer = build_optimizer(DEMO, model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    final, checkpoint = tmp_path / "final", tmp_path / "checkpoint"
    torch.save(model.state_dict(), final)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, checkpoint)
    cells = [cell(), cell(), cell(), cell(Action.EVALUATE)]
    said = disk_bytes(cells, 2, keeps_checkpoints=False)
    assert said == pytest.approx(3 * final.stat().st_size + 4 * checkpoint.stat().st_size, rel=0.05)
    kept = disk_bytes(cells, 2, keeps_checkpoints=True)
    assert kept == pytest.approx(7 * checkpoint.stat().st_size, rel=0.05)


def test_units() -> None:
    texts = [in_units(n) for n in (0, 1023, 1024, 3 * 2**20, 5 * 2**29, 2**40)]
    assert texts == ["0 bytes", "1023 bytes", "1 KiB", "3 MiB", "2.5 GiB", "1.0 TiB"]


def test_a_workers_memory_is_its_share_of_the_machine(monkeypatch, tmp_path: Path) -> None:
    assert worker_memory([cell(), cell(), cell()], 2) == machine_memory() // 2
    assert worker_memory([cell()], 2) == machine_memory()  # nobody beside it
    assert worker_memory([cell()], None) is None
    group = tmp_path / "memory.max"
    monkeypatch.setattr(fitness, "_GROUPS", (str(group), str(tmp_path / "absent")))
    group.write_text("max\n")
    whole = machine_memory()
    group.write_text("1000000\n")
    assert machine_memory() == 1_000_000 < whole
    monkeypatch.setenv("SIMCLR_LAB_WORKER_MEMORY_GIB", "0.5")
    assert worker_memory([], 2) == 2**29
    monkeypatch.setenv("SIMCLR_LAB_WORKER_MEMORY_GIB", "much")
    with pytest.raises(FieldError, match="SIMCLR_LAB_WORKER_MEMORY_GIB: is 'much'"):
        worker_memory([], 2)


def test_the_plan_in_words(capsys, own_home: Path) -> None:
    estimate = Estimate(3, 2, 3 * 2**20, 4, 6.0, 1.5, True, 2**30, (12.0, "EUR"))
    show_estimate(estimate, "GPU-hours")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "workers: up to 2 a cell, 4 at once here"
    assert lines[1] == "GPU-hours: about 6.00, 1.50 hours from start to end"
    assert lines[2] == "memory: 1.0 GiB a worker, at most"
    assert lines[3].startswith("disk: about 3 MiB, ")
    assert lines[4] == "price: about 12.00 EUR"
    show_estimate(replace(estimate, cells=0), "GPU-hours")
    assert capsys.readouterr().out == ""


STUDY = 'metric = "linear/test_top1"\nseeds = [0]\nreferences = false\n[[grid]]\n'


def launched(tmp_path: Path, *options: str):
    """A launch, as it would be without a dry run, that must end before anything is recorded."""
    path = tmp_path / "study.toml"
    path.write_text(STUDY + "loss.temperature = [0.1, 0.5]")
    return CliRunner().invoke(app, ["run", str(path), "--scale", "demo", *options])


def nothing_recorded(home: Path) -> None:
    from simclr_lab.tracking.ledger import Ledger

    assert Ledger().cells() == {}
    assert Ledger().study("study", "demo") is None
    assert not (home / "storage").exists()


@pytest.mark.parametrize("dry", [[], ["--dry-run", "--probe"]])
def test_too_little_memory_is_said_with_the_micro_batch_that_fits(
    own_home, tmp_path: Path, monkeypatch, dry: list[str]
) -> None:
    def ask(recipe: Recipe, workers: int, limit: int | None) -> Probed:
        micro = recipe.compute.micro_batch_size
        held = 2**24 * (recipe.batch_size if micro == "whole" else micro)
        assert limit == 2**30
        return Probed(0.1, held, limit, held > limit)

    monkeypatch.setattr(session, "Prober", lambda *given: Prober(*given, ask))
    monkeypatch.setenv("SIMCLR_LAB_WORKER_MEMORY_GIB", "1")
    result = launched(tmp_path, "--set", "batch_norm.group_images=16", *dry)
    assert result.exit_code == 4
    assert "batch 128" in result.stderr
    assert "a worker has 1.0 GiB of memory and needs 2.0 GiB" in result.stderr
    assert "--set compute.micro_batch_size=64 (1.0 GiB), which changes no" in result.stderr
    nothing_recorded(own_home)
    result = launched(tmp_path, "--set", "batch_norm.group_images=16", "--dry-run", "--no-probe")
    assert result.exit_code == 0, result.output  # the user knows better


@pytest.mark.slow
def test_too_little_memory_is_found_by_a_real_probe(own_home, tmp_path: Path, monkeypatch) -> None:
    """With the limit between a whole batch and a part of it, as this machine measures them."""
    sizes = {"batch_size": 512, "batch_norm.group_images": 64}
    recipe = DEMO.with_fields(sizes)
    whole = probe(recipe, 1, None).memory_bytes
    part = probe(recipe.with_fields({"compute.micro_batch_size": 64}), 1, None).memory_bytes
    assert whole is not None
    assert part is not None
    monkeypatch.setenv("SIMCLR_LAB_WORKER_MEMORY_GIB", str((whole + 2 * part) / 3 / 2**30))
    options = [part for field in sizes.items() for part in ("--set", "=".join(map(str, field)))]
    result = launched(tmp_path, *options)
    assert result.exit_code == 4
    assert "it would fit with --set compute.micro_batch_size=" in result.stderr
    nothing_recorded(own_home)
    assert launched(tmp_path, *options, "--dry-run").exit_code == 4  # remembered


def test_a_disk_that_is_too_small_is_refused(own_home, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(fitness.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    result = launched(tmp_path, "--no-probe")
    assert result.exit_code == 4
    assert "the encoders and checkpoints of 2 cells take about" in result.stderr
    assert "has 1000 bytes left" in result.stderr
    nothing_recorded(own_home)


def test_a_shape_that_can_never_be_placed_is_refused(own_home, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(fitness.os, "cpu_count", lambda: 2)
    result = launched(tmp_path, "--no-probe", "--workers", "4")
    assert result.exit_code == 4
    assert "asks for 4 workers, and this machine has 2 slots" in result.stderr
    nothing_recorded(own_home)


def test_prices_without_the_rate_that_is_used(own_home, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("currency = 'USD'\ngpu_hour = 1.0\n")
    result = launched(tmp_path, "--dry-run", "--prices", str(prices))
    assert result.exit_code == 2
    assert "has no worker_hour" in result.stderr


def test_cells_that_share_a_gpu_must_fit_it_together(tmp_path: Path) -> None:
    asked = estimator(tmp_path, found=Probed(0.1, 5 * 2**30, 16 * 2**30))
    asked([cell(), cell(workers=2)])

    def crowd(share: Fraction, planned: PlannedCell) -> None:
        refuse_crowded([replace(planned, gpu_share=share)], asked.prober)

    crowd(Fraction(1, 3), cell())
    crowd(Fraction(1, 4), cell(workers=2))
    crowd(Fraction(1, 4), cell(Action.REUSE))
    crowd(Fraction(1, 4), cell(batch_size=64))  # not probed
    with pytest.raises(ClusterUnfit, match=r"1/4 puts 4 cells .* 16384 MiB.* 5120; .* 1/3 or more"):
        crowd(Fraction(1, 4), cell())
