"""What a person sees of designs, seeds and nuisance fields before anything is run."""

from dataclasses import replace
from pathlib import Path

import pytest
from pretended import finished
from typer.testing import CliRunner

from simclr_lab.cell import CellRecord, EpochReport, State, StudyCell, StudyRecord
from simclr_lab.cli import planning
from simclr_lab.cli.app import app
from simclr_lab.cli.request import Request, check
from simclr_lab.cli.tuned import TunedPlan, plan_tuned, superseded, tuned_record
from simclr_lab.data.sources import dataset_digest
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.mlflow_runs import MlflowRuns
from simclr_lab.tuning.plan import PlannedCell, Replicate

PLAIN = """
metric = "linear/test_top1"
seeds = [0, 1, 2]
references = false
[[grid]]
loss.temperature = [0.1, 0.5]
"""
TUNED = f"""{PLAIN}
[nuisance]
trials = 4
optimizer.learning_rate = {{ min = 0.05, max = 0.5, scale = "log" }}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return tmp_path / "study.toml"


def dry_run(path: Path, *options: str) -> str:
    arguments = ["run", str(path), "--scale", "demo", "--dry-run", *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def planned(path: Path, known: dict[str, CellRecord], seeds: str | None = None) -> TunedPlan:
    checked = check(Request(path, "demo", seeds=seeds))
    assert isinstance(checked.study, Ablation)
    plan = plan_tuned(
        checked,
        checked.study,
        known,
        lambda replicates, k: planning.planned(checked, replicates, k),
    )
    assert plan is not None
    return plan


def recorded(cell: PlannedCell, accuracy: float = 40.0) -> CellRecord:
    """The record of a finished cell, in the ledger too."""
    record = finished(cell, {"linear/val_top1": accuracy, "linear/test_top1": 50 - accuracy})
    record = replace(record, data_digest=dataset_digest("cifar10"), world_size=1, threads=1)
    runs = MlflowRuns(Ledger().tracking_uri)
    runs.start(record)
    runs.report(cell.key, [EpochReport(3, 141, 1_700_000_000_000, record.metrics)])
    runs.finish(record)
    return record


def test_ten_seeds_of_which_three_are_finished_are_seven_to_run(own_home, study: Path) -> None:
    study.write_text(PLAIN)
    checked = check(Request(study, "demo"))
    arms = checked.study.arms(checked.base, "demo")
    for cell in planning.planned(
        checked, [Replicate(a.label, s, a.recipe) for a in arms for s in (0, 1, 2)], {}
    ):
        recorded(cell)
    lines = dry_run(study, "--seeds", "0..9").splitlines()
    assert "20 cells: 14 to run, 6 to reuse" in lines[0]
    for arm in ("loss.temperature=0.1", "loss.temperature=0.5"):
        own = [line.split() for line in lines if line.endswith(arm)]
        to_run = [words[3] for words in own if words[0] == "run"]
        assert to_run == [str(seed) for seed in range(3, 10)]
        assert [words[3] for words in own if words[0] == "reuse"] == ["0", "1", "2"]


def test_the_plan_shows_trials_and_results_apart(own_home, study: Path) -> None:
    study.write_text(TUNED)
    text = dry_run(study)
    assert "2 arms, each tuned in 4 trials (optimizer.learning_rate; best linear/val_top1" in text
    assert "at seed 1000000, qmc), then run with 3 seeds" in text
    assert "tuning: 8 cells: 8 to run" in text
    assert "reported: 6 cells: 6 once their arm's trials have chosen" in text
    assert "loss.temperature=0.5: trials 4 to run, then 3 seeds" in text
    assert {path.name for path in own_home.iterdir()} <= {"mlflow.db", "mlflow.db.lock"}


def test_the_plan_knows_what_finished_trials_have_chosen(own_home, study: Path) -> None:
    study.write_text(TUNED)
    first = planned(study, {}).arms[0]
    for accuracy, cell in zip((30.0, 45.0, 40.0, 20.0), first.trials, strict=True):
        recorded(cell, accuracy)
    best = first.trials[1].recipe.optimizer.learning_rate
    text = dry_run(study)
    assert "tuning: 8 cells: 4 to run, 4 to reuse" in text
    assert "reported: 6 cells: 3 to run, 3 once their arm's trials have chosen" in text
    assert f"loss.temperature=0.1: chose optimizer.learning_rate={best}; 3 to run" in text
    text = dry_run(study, "--seeds", "0..9")
    assert f"loss.temperature=0.1: chose optimizer.learning_rate={best}; 10 to run" in text


def test_a_small_space_is_told(own_home, study: Path) -> None:
    study.write_text(PLAIN + "[nuisance]\ntrials = 4\noptimizer.momentum = { choice = [0.8, 0.9] }")
    assert "trials 2 to run (its space has 2 cells), then 3 seeds" in dry_run(study)


def test_a_searching_samplers_trials_are_not_known_beforehand(own_home, study: Path) -> None:
    study.write_text(f"{TUNED}sampler.name = 'tpe'\n")
    text = dry_run(study)
    assert "tuning: 8 cells: as tpe proposes them" in text
    assert "loss.temperature=0.1: up to 4 trials, then 3 seeds" in text


def test_a_reported_seed_cannot_be_the_tuning_seed(own_home, study: Path) -> None:
    study.write_text(f"{TUNED}seed = 7\n")
    result = CliRunner().invoke(app, ["run", str(study), "--scale", "demo", "--seeds", "0..9"])
    assert result.exit_code == 2
    assert "study.toml: nuisance.seed: is 7, which is a reported seed too" in result.stderr
    assert list(own_home.iterdir()) == []


def test_values_that_cannot_be_tried_together_are_told_with_the_file(own_home, study: Path) -> None:
    together = (
        "batch_size = { choice = [64, 6000] }\ndata.pretrain_images = { choice = [3000, 6000] }"
    )
    study.write_text(f"{PLAIN}[nuisance]\ntrials = 4\n{together}\n")
    result = CliRunner().invoke(app, ["run", str(study), "--scale", "demo"])
    assert result.exit_code == 2
    assert "study.toml: nuisance: tries batch_size=6000, data.pretrain_images=3000" in result.stderr
    assert "impossible in the arm loss.temperature=0.1" in result.stderr
    assert Ledger().cells() == {}


def test_the_ledger_shows_results_by_arm_and_trials_apart(own_home, study: Path) -> None:
    study.write_text(TUNED)
    plan = planned(study, {})
    known = {}
    for arm in plan.arms:
        known |= {cell.key: recorded(cell) for cell in arm.trials}
    plan = planned(study, known)
    for arm in plan.arms:
        known |= {cell.key: recorded(cell) for cell in arm.reported}
    record = StudyRecord("study", "demo", "ablation", "linear/test_top1")
    MlflowRuns(Ledger().tracking_uri).open_study(tuned_record(record, plan, (), known), "launch.a")
    results = Ledger().runs("study", "demo")
    assert results.groupby("arm")["seed"].apply(list).to_dict() == {
        arm.label: [0, 1, 2] for arm in plan.arms
    }
    for arm in plan.arms:
        assert arm.chosen is not None
        rates = results[results["arm"] == arm.label]["optimizer.learning_rate"]
        assert set(rates) == set(arm.chosen.values())
    trials = Ledger().runs("study", "demo", role="tuning")
    assert trials.groupby("arm")["key"].nunique().to_dict() == {a.label: 4 for a in plan.arms}
    assert set(trials["seed"]) == {1_000_000}


def test_what_a_later_choice_took_over_is_no_result_any_more(study: Path) -> None:
    place = StudyCell("new", "arm", 0)
    old, other_seed, trial = (
        StudyCell("old", "arm", 0),
        StudyCell("b", "arm", 1),
        StudyCell("c", "arm", 0, "tuning"),
    )
    earlier = [old, place, other_seed, trial]
    assert superseded(place, earlier, {}) == [replace(old, role="superseded")]
    assert superseded(trial, earlier, {}) == []
    outdated = CellRecord("old", 0, State.FINISHED, {}, "demo", "d", method_version=0)
    assert superseded(place, earlier, {"old": outdated}) == []
