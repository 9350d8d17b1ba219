"""Cells on a real Ray on this machine: reuse, leaks, sweeps, two workers.

Each wait has a deadline; every command runs in a process of its own, as a user's would.
"""

from pathlib import Path

import pytest
from ray_commands import TINY, command, metrics, no_duplicate_rows, run, study

from simclr_lab.tracking.ledger import Ledger

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600)]

SWEEP = """
metric = "linear/val_top1"
trials = 3
[space]
loss.temperature = { min = 0.05, max = 1.0, scale = "log" }
projection.depth = { min = 0, max = 2 }
"""


def test_an_ablation_runs_to_its_end(undisturbed) -> None:
    home, _, output = undisturbed
    assert "7 done, 0 running, 0 failed, 0 reused" in output  # 2 arms x 2 seeds, 2 random, pixels
    frame = Ledger(f"sqlite:///{home / 'mlflow.db'}").runs(
        "tiny", "+".join(["demo", *sorted(TINY)])
    )
    assert len(frame) == 7
    assert set(frame["state"]) == {"finished"}
    assert frame["linear/test_top1"].between(10, 60).all()
    no_duplicate_rows(home)
    assert not list((home / "storage" / "scratch").iterdir())


def test_the_same_command_again_reuses_everything(undisturbed) -> None:
    home, path, _ = undisturbed
    before = metrics(home)
    code, output = run(command(path), home)
    assert code == 0
    assert "0 done, 0 running, 0 failed, 7 reused" in output
    assert metrics(home) == before


def test_another_study_reuses_the_cells_they_share(undisturbed, tmp_path: Path) -> None:
    home, _, _ = undisturbed
    other = study(tmp_path, "other", "[0.5]")
    code, output = run(command(other, "--dry-run"), home)
    assert code == 0
    assert "2 to reuse" in output


def test_processes_that_are_used_again_leak_nothing(undisturbed, tmp_path: Path) -> None:
    """Every cell alone, first in a fresh process, equals the same cell late in a used one."""
    home, _, _ = undisturbed
    code, output = run(
        command(study(tmp_path, "alone", "[0.5]"), "--seeds", "1"), tmp_path / "home"
    )
    assert code == 0, output
    ((key, alone),) = metrics(tmp_path / "home").items()
    assert metrics(home)[key] == alone
    cells = Ledger(f"sqlite:///{home / 'mlflow.db'}").cells().values()
    assert {cell.threads for cell in cells} == {1}


def test_a_sweep_runs_its_trials(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP)
    code, output = run(command(path), tmp_path / "home")
    assert code == 0, output
    assert "3 done, 0 running, 0 failed, 0 reused" in output
    code, output = run(command(path), tmp_path / "home")
    assert code == 0
    assert "0 done, 0 running, 0 failed, 3 reused" in output


def test_a_cell_on_two_workers_equals_it_on_one(tmp_path: Path) -> None:
    path = study(tmp_path, temperatures="[0.1]")
    exact = [*TINY, "compute.precision=float64", "compute.channels_last=false"]
    found = []
    for workers in (1, 2):
        home = tmp_path / f"home{workers}"
        options = ["--seeds", "0", "--workers", str(workers)]
        code, output = run(command(path, *options, tiny=exact), home)
        assert code == 0, output
        (cell,) = Ledger(f"sqlite:///{home / 'mlflow.db'}").cells().values()
        assert cell.world_size == workers
        found.append(cell)
    assert found[0].key == found[1].key
    for name in ("train/loss", "train/contrastive_entropy", "linear/val_top1"):
        assert found[0].metrics[name] == pytest.approx(found[1].metrics[name], rel=1e-6)


def test_a_cell_that_no_slot_can_hold_is_refused_before_it_starts(tmp_path: Path) -> None:
    path = study(tmp_path, temperatures="[0.1]")
    code, output = run(command(path, "--seeds", "0", "--workers", "64"), tmp_path / "home")
    assert code == 4, output
    assert "asks for 64 workers, and this machine has" in output
    assert not (tmp_path / "home" / "storage" / "cells").exists()
