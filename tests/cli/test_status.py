"""What ``status`` says of a study: every state in words, why, what it cost, what is next."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tracking_records import record
from typer.testing import CliRunner

from simclr_lab.cell import CellRecord, EpochReport, Outcome, State, StudyCell, StudyRecord
from simclr_lab.cli.app import app
from simclr_lab.cli.planning import plan_ablation
from simclr_lab.cli.request import Request, check
from simclr_lab.identity import evaluation_key
from simclr_lab.tracking.lease import Lease
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.mlflow_runs import MlflowRuns
from simclr_lab.tuning.plan import PlannedCell

ABLATION = """
metric = "linear/test_top1"
seeds = [0, 1, 2]
references = false
[[grid]]
loss.temperature = [0.1, 0.5, 1.0]
"""
SWEEP = """
metric = "linear/val_top1"
trials = 4
[space]
loss.temperature = { min = 0.05, max = 1.0, scale = "log" }
"""


def planned(path: Path) -> list[PlannedCell]:
    checked = check(Request(path, "demo"))
    return plan_ablation(checked, checked.study, {})


def record_of(cell: PlannedCell) -> CellRecord:
    return record(key=cell.key, seed=cell.seed, recipe=cell.recipe.flat())


def write(cell: PlannedCell, state: State, accuracy: float = 40.0, **end: object) -> None:
    runs, started = MlflowRuns(Ledger().tracking_uri), record_of(cell)
    runs.start(started)
    costs = {"cost/pretraining_seconds": 1800.0, "cost/pretraining_cpu_seconds": 900.0}
    for epoch in (1, 2):
        metrics = {"linear/test_top1": accuracy, "train/loss": 1.0} | costs
        runs.report(cell.key, [EpochReport(epoch, 10 * epoch, 1000 + epoch, metrics)])
    protocols = cell.recipe.evaluation.protocols
    whole = {"evaluations": {p: evaluation_key(cell.recipe, p) for p in protocols}}
    if state is not State.RUNNING:
        runs.finish(replace(started, state=state, **whole | end))


@pytest.fixture
def ablation(own_home: Path, tmp_path: Path) -> Path:
    """Three arms, three seeds: a cell in every state."""
    path = tmp_path / "states.toml"
    path.write_text(ABLATION)
    cells = planned(path)
    write(cells[0], State.FINISHED, 45.2, outcome=Outcome.OK)
    write(cells[1], State.FINISHED, 10.0, outcome=Outcome.DIVERGED)
    write(cells[2], State.RUNNING)
    write(cells[3], State.UNFINISHED)
    write(cells[4], State.FAILED, reason="OSError: disk full", reason_kind="error")
    write(cells[5], State.FINISHED, 33.3, outcome=Outcome.COLLAPSED, evaluations={})
    write(cells[6], State.PRUNED)
    return path


def status(path: Path, *options: str) -> str:
    result = CliRunner().invoke(
        app, ["status", str(path), "--scale", "demo", *options], env={"COLUMNS": "200"}
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_state_has_its_words(ablation: Path) -> None:
    with Lease(f"cell-{planned(ablation)[2].key}"):
        text = status(ablation)
    words = (
        "finished 45.2",
        "diverged 10.0",
        "running 2/3 epochs",
        "unfinished 2/3 epochs",
        "pruned 2/3 epochs",
        "failed: OSError: disk full",
        "collapsed 33.3, lacks an evaluation",
        "missing",
    )
    for word in words:
        assert word in text, word
    assert "loss.temperature=0.5" in text
    assert "(error): OSError: disk full" in text
    assert "3 finished" in text
    assert "2 missing" in text
    assert "2 to run" in text
    assert "1 failed, for --retry-failed" in text


def test_a_run_that_nobody_runs_is_unfinished_and_stays_unwritten(ablation: Path) -> None:
    assert "running" not in status(ablation)
    assert State.RUNNING in {cell.state for cell in Ledger().cells().values()}


def test_for_machines(ablation: Path) -> None:
    found = json.loads(status(ablation, "--json"))
    assert found["counts"] == {
        "finished": 3,
        "unfinished": 2,
        "failed": 1,
        "pruned": 1,
        "missing": 2,
    }
    assert found["next"] == {"run": 2, "continue": 3, "reuse": 2, "failed": 1, "evaluate only": 1}
    first = found["cells"][0]
    assert (first["arm"], first["seed"], first["value"]) == ("loss.temperature=0.1", 0, 45.2)
    epochs = 3 * 3 + 4 * 2  # finished cells whole, the others as far as they came
    assert found["wall_seconds"] == 1800.0 * epochs
    assert found["cpu_seconds"] == 900.0 * epochs
    assert all(cell["value"] is None for cell in found["cells"] if cell["state"] != "finished")


def test_a_reopened_cell_shows_both_attempts(ablation: Path) -> None:
    cell = planned(ablation)[0]
    runs = MlflowRuns(Ledger().tracking_uri)
    again = replace(record_of(cell), attempt=1)
    runs.start(again)
    runs.finish(replace(again, state=State.UNFINISHED))
    assert "finished 45.2; new attempt unfinished" in status(ablation)


def test_a_sweep_shows_its_best_trials_and_what_is_left(own_home: Path, tmp_path: Path) -> None:
    path = tmp_path / "search.toml"
    path.write_text(SWEEP)
    text = status(path)
    assert "0 cells: none yet" in text
    assert "4 to run" in text
    runs = MlflowRuns(Ledger().tracking_uri)
    places = []
    for number, accuracy in enumerate((30.0, 42.0)):
        cell = record(key=f"{number}" * 20)
        runs.start(cell)
        metrics = {"linear/val_top1": accuracy}
        runs.report(cell.key, [EpochReport(1, 10, 1000, metrics)])
        runs.finish(replace(cell, state=State.FINISHED, outcome=Outcome.OK))
        places.append(StudyCell(cell.key, f"loss.temperature=0.{number + 1}", 0))
    study = StudyRecord("search", "demo", "sweep", "linear/val_top1", tuple(places))
    runs.open_study(study)
    text = status(path)
    assert text.index("42.0") < text.index("30.0")
    assert "2 to run" in text


def test_it_is_quick_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, simclr_lab.cli.status, simclr_lab.cli.clean, simclr_lab.cli.forget,"
        "simclr_lab.cli.snapshot, simclr_lab.cli.migrate;"
        "print({'torch', 'ray', 'optuna'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "set()"
