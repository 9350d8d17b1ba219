"""What makes a comparison unfair is refused with the file; what tunes it is read from the file."""

from pathlib import Path

import pytest

from simclr_lab.recipes import named_recipe
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.spaces.domain import Choice, Range
from simclr_lab.spaces.errors import StudyError
from simclr_lab.spaces.files import load_study
from simclr_lab.spaces.nuisance import TUNING_SEED, Nuisance, NuisanceSampler

DEMO, LAPTOP = named_recipe("demo"), named_recipe("laptop")
RATE = "optimizer.learning_rate = { min = 0.05, max = 0.5, scale = 'log' }\n"
BATCHES = "[[grid]]\nbatch_size = [64, 128]\n"


def ablation(tmp_path: Path, text: str) -> Ablation:
    path = tmp_path / "study.toml"
    path.write_text('metric = "linear/test_top1"\nseeds = [0, 1]\n' + text)
    study = load_study(path)
    assert isinstance(study, Ablation)
    return study


def refused(tmp_path: Path, text: str) -> StudyError:
    with pytest.raises(StudyError) as caught:
        ablation(tmp_path, text).check(DEMO, "demo")
    assert "\n" not in str(caught.value)
    return caught.value


def test_what_a_nuisance_table_means(tmp_path: Path) -> None:
    study = ablation(tmp_path, f"[nuisance]\ntrials = 8\n{RATE}")
    study.check(DEMO, "demo")
    assert study.nuisance_at(DEMO, "demo") == Nuisance(
        trials=8,
        metric="linear/val_top1",  # the study's, on validation
        seed=TUNING_SEED,
        sampler=NuisanceSampler(name="qmc", seed=0),
        domains={"optimizer.learning_rate": Range(0.05, 0.5, "log")},
    )
    assert ablation(tmp_path, "").nuisance_at(DEMO, "demo") is None


def test_a_scale_may_change_parts_of_it(tmp_path: Path) -> None:
    text = (
        f"[nuisance]\ntrials = 8\nseed = 7\nmetric = 'ridge/val_top1'\n{RATE}"
        "optimizer.momentum = { choice = [0.9, 0.95] }\n"
        "[scale.laptop.nuisance]\ntrials = 4\nsampler = { name = 'random', seed = 3 }\n"
        "optimizer.learning_rate = { min = 0.1, max = 0.2 }"
    )
    own = ablation(tmp_path, text).nuisance_at(LAPTOP, "laptop")
    assert own is not None
    assert (own.trials, own.seed, own.metric) == (4, 7, "ridge/val_top1")
    assert own.sampler == NuisanceSampler(name="random", seed=3)
    assert own.domains == {
        "optimizer.learning_rate": Range(0.1, 0.2),
        "optimizer.momentum": Choice((0.9, 0.95)),
    }


def test_protocols_of_both_metrics_are_switched_on(tmp_path: Path) -> None:
    text = "baseline = { evaluation.protocols = ['ridge'] }\n"
    study = ablation(tmp_path, f"{text}[nuisance]\ntrials = 2\nmetric = 'knn/val_top1'\n{RATE}")
    assert study.base_at(DEMO, "demo").evaluation.protocols == ("ridge", "linear", "knn")


@pytest.mark.parametrize(
    ("text", "field", "hint"),
    [
        (f"trials = 2\nmetric = 'linear/test_top1'\n{RATE}", "nuisance.metric", "val metrics"),
        (f"trials = 2\nmetric = 'accuracy'\n{RATE}", "nuisance.metric", "linear/val_top1"),
        (f"trials = 0\n{RATE}", "nuisance.trials", "greater than 0"),
        (RATE, "nuisance.trials", "required"),
        ("trials = 2", "nuisance", "one domain or more"),
        (f"trials = 2\nseed = 1\n{RATE}", "nuisance.seed", "is a reported seed too"),
        (f"trails = 2\n{RATE}", "nuisance.trails", "did you mean nuisance.trials"),
        ("trials = 2\nlos.temperature = { choice = [1.0] }", "nuisance.los", "nuisance.loss"),
        ("trials = 2\nloss.temprature = { choice = [1.0] }", "loss.temprature", "did you mean"),
        ("trials = 2\noptimizer.learning_rate = 0.1", "optimizer.learning_rate", "choice = [...]"),
        (
            "trials = 2\nevaluation.fit_images = { choice = [10] }",
            "nuisance.evaluation.fit_images",
            "judges the encoder",
        ),
        (
            "trials = 2\noptimizer.momentum = { min = 0.1, max = 0.9, when = { epochs = [1] } }",
            "nuisance.optimizer.momentum.when",
            "a sweep's",
        ),
        (f"trials = 2\nsampler.name = 'grid'\n{RATE}", "nuisance.sampler.name", "'qmc'"),
        (f"trials = 2\npruning = 'median'\n{RATE}", "nuisance.pruning", "no such field"),
        (
            "trials = 2\nprojection.depth = { min = 0, max = 2 }",
            "nuisance.projection.depth",
            "fixed by the arm projection.depth=1 too",
        ),
        (
            "trials = 2\noptimizer.warmup = { min = 0.1, max = 3.0 }",
            "nuisance.optimizer.warmup",
            "is impossible at 3.0 in the arm projection.depth=1",
        ),
    ],
)
def test_mistakes_in_it(tmp_path: Path, text: str, field: str, hint: str) -> None:
    error = refused(tmp_path, f"[[grid]]\nprojection.depth = [1, 2]\n[nuisance]\n{text}")
    assert error.field == field
    assert hint in error.problem


def test_trials_count_against_the_cells_of_a_study(tmp_path: Path) -> None:
    text = f"[[grid]]\nprojection.depth = [1, 2]\n[nuisance]\ntrials = 5000\n{RATE}"
    error = refused(tmp_path, text)
    assert "makes 10004 cells, 2 arms times 5002 seeds and trials" in error.problem


@pytest.mark.parametrize(
    "text",
    [
        f"{BATCHES}[nuisance]\ntrials = 2\n{RATE}",
        f"{BATCHES}optimizer.learning_rate = [0.1, 0.2]",
        f"{BATCHES}optimizer.learning_rate_rule = ['sqrt']",
        "[[grid]]\nbatch_size=[64]\noptimizer.learning_rate=[0.1]\n"
        "[[grid]]\nbatch_size=[128]\noptimizer.learning_rate=[0.2]",
        "[[grid]]\nbatch_size = [64]\nloss.temperature = [0.1, 0.5]",  # one batch, no comparison
        "[one_at_a_time]\nbatch_size = [64]\n[nuisance]\ntrials = 2\n" + RATE,
        "[[path]]\nstep = 'small'\nbatch_size = 64\noptimizer.learning_rate = 0.1",
        "[leave_one_out]\nbig = { batch_size = 64, optimizer.learning_rate = 0.1 }",
    ],
)
def test_batch_sizes_with_a_rate_for_each(tmp_path: Path, text: str) -> None:
    ablation(tmp_path, text).check(DEMO, "demo")


@pytest.mark.parametrize(
    "text",
    [
        BATCHES,
        f"{BATCHES}[nuisance]\ntrials = 2\nloss.temperature = {{ min = 0.1, max = 1.0 }}",
        "[one_at_a_time]\nbatch_size = [64, 256]\noptimizer.learning_rate = [0.1]",
        "[[path]]\nstep = 'small'\nbatch_size = 64",
        "[leave_one_out]\nbig = { batch_size = 64 }",
        "[[grid]]\nbatch_size=[64]\noptimizer.learning_rate=[0.1]\n[[grid]]\nbatch_size=[256]",
    ],
)
def test_batch_sizes_at_one_rate_are_refused_with_the_ways_out(tmp_path: Path, text: str) -> None:
    error = refused(tmp_path, text)
    assert error.field == "batch_size"
    assert "[nuisance] optimizer.learning_rate = {" in error.problem
    assert "optimizer.learning_rate_rule beside each batch_size" in error.problem
