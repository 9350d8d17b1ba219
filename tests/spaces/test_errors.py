"""Every mistake in a study file: one message that names the file, the field and what is allowed."""

import os
from pathlib import Path

import pytest

from simclr_lab.recipes import named_recipe
from simclr_lab.spaces.errors import StudyError
from simclr_lab.spaces.files import load_study

HEAD = 'metric = "linear/test_top1"\nseeds = [0]\n'
SWEEP = 'metric = "linear/val_top1"\ntrials = 3\n'

MISTAKES = [
    ("[[grid]]\nloss.temprature = [0.1]", "loss.temprature", "did you mean loss.temperature"),
    ("[[grid]]\nloss.temperature = [-0.1]", "loss.temperature", "greater than 0"),
    ('[[grid]]\nloss.temperature = ["hot"]', "loss.temperature", "'hot' (str)"),
    ("[[grid]]\nloss.temperature = [nan]", "loss.temperature", "finite number"),
    ("[[grid]]\nloss.temperature = [inf]", "loss.temperature", "allowed"),
    ("[[grid]]\nloss.temperature = 0.1", "loss.temperature", "a list of values"),
    ("[[grid]]\nloss.temperature = []", "loss.temperature", "a list of values"),
    ("[[grid]]\nloss.temperature = [0.1, 0.1]", "grid", "twice"),
    ("[[grid]]\nloss.normalize = [1]", "loss.normalize", "1 (int)"),
    ("[[grid]]\nseed = [1, 2]", "seed", "is a replicate"),
    ("[[grid]]\nloss = 3", "loss", "a table of its fields"),
    ("[[grid]]\nprojection.depth = [99]", "projection.depth", "99"),
    ("[[grid]]\nbatch_size = [3.5]", "batch_size", "3.5"),
    ("[[grid]]\noptimizer.learning_rate_rule = ['linear']", "optimizer.learning_rate_rule", "both"),
    ("[one_at_a_time]\nloss.temperature = 0.1", "loss.temperature", "a list of values"),
    ("[leave_one_out]\nblur = 3", "leave_one_out.blur", "switch it off"),
    ("[[grid]]\nbatch_size=[64]\n[one_at_a_time]\nbatch_size=[64]", "", "one design per study"),
    ("[pruning]\nname = 'median'", "pruning", "prunes an ablation"),
    ("[[claims]]\ntext='x'\ncontrast='y'\ndirection='greater'", "claims.contrast", "is 'y'"),
    ("[scale.huge]\nseeds = [1]", "scale.huge", "no such scale; allowed: demo"),
    ("colour = 1", "colour", "no such field"),
    ("file = 'x'", "file", "no such field"),
]

SWEEP_MISTAKES = [
    ("[space]\nloss.temperature = { min = 1.0, max = 0.1 }", "loss.temperature.max", "more than"),
    ("[space]\nloss.temperature = { min = 0.1 }", "loss.temperature.max", "a finite number"),
    ("[space]\nloss.temperature = { min = nan, max = 1.0 }", "loss.temperature.min", "finite"),
    ("[space]\nloss.temperature = { min = -1.0, max = 1.0 }", "loss.temperature", "greater than 0"),
    ("[space]\naugment.color_strength = { min = 0.0, max = 1.0, scale = 'log' }", "min", "log"),
    (
        "[space]\naugment.color_strength = { min = 0.0, max = 2.0 }",
        "augment.color_strength",
        "1.25",
    ),
    ("[space]\nloss.temperature = { min = 0.1, max = 1.0, scale = 'ln' }", "scale", "'linear'"),
    ("[space]\nloss.temperature = { low = 0.1, max = 1.0 }", "loss.temperature.low", "no such"),
    ("[space]\nloss.temperature = { choice = [] }", "loss.temperature.choice", "one or more"),
    ("[space]\nloss.temperature = { choice = [0.1, 0.1] }", "loss.temperature.choice", "twice"),
    ("[space]\nloss.temperature = { choice = [0.1], min = 1 }", "loss.temperature", "mixes"),
    ("[space]\nloss.temperature = [0.1]", "loss.temperature", "choice = [...]"),
    ("[space]\nbatch_size = { choice = [64, 128] }", "space.batch_size", "learning_rate"),
    ("[space]\nseed = { choice = [1, 2] }", "seed", "is a replicate"),
    ("[space]\nevaluation.fit_images = { choice = [10] }", "evaluation.fit_images", "judges"),
    ("[space]\nloss.temprature = { min = 0.1, max = 1.0 }", "loss.temprature", "did you mean"),
    ("[space]\nprojection.depth = { min = 0, max = 2 }\n[sampler]\nname = 'magic'", "name", "tpe"),
]


def mistake(path: Path, text: str) -> StudyError:
    path.write_text(text)
    with pytest.raises(StudyError) as caught:
        load_study(path).check(named_recipe("demo"), "demo")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(("text", "field", "hint"), MISTAKES)
def test_ablations(tmp_path: Path, text: str, field: str, hint: str) -> None:
    error = mistake(tmp_path / "study.toml", HEAD + text)
    assert error.field == field
    assert hint in error.problem


@pytest.mark.parametrize(("text", "field", "hint"), SWEEP_MISTAKES)
def test_sweeps(tmp_path: Path, text: str, field: str, hint: str) -> None:
    error = mistake(tmp_path / "study.toml", SWEEP + text)
    assert error.field.endswith(field)
    assert hint in error.problem


@pytest.mark.parametrize(
    ("text", "field", "hint"),
    [
        ('metric = "accuracy"\nseeds = [0]', "metric", "linear/test_top1"),
        ('metric = "linear/test_top1"\nseeds = []', "seeds", "at least one"),
        ('metric = "linear/test_top1"\nseeds = [0, 0]', "seeds", "different"),
        ('metric = "linear/test_top1"\nseeds = [-1]', "seeds", "not negative"),
        ('metric = "linear/test_top1"\nseeds = ["a"]', "seeds", "'a'"),
        ("seeds = [0]", "metric", "required"),
        (
            'metric = "linear/test_top1"\ntrials = 1\n[space]\nbatch_size={choice=[64]}',
            "metric",
            "val",
        ),
    ],
)
def test_what_every_study_needs(tmp_path: Path, text: str, field: str, hint: str) -> None:
    error = mistake(tmp_path / "study.toml", text)
    assert error.field.split(".")[0] == field
    assert hint in error.problem


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xff\xfe")
    for target, hint in [
        (tmp_path / "none.toml", "cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (path, "is not UTF-8"),
    ]:
        with pytest.raises(StudyError, match=hint):
            load_study(target)
    assert "is not TOML" in str(mistake(path, "metric = [broken"))
    assert "larger than" in str(mistake(path, "#" * 1_000_001))
    assert "nests deeper" in str(mistake(path, f"{HEAD}baseline = " + "{a=" * 25 + "1" + "}" * 25))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(HEAD)
    path.chmod(0)
    with pytest.raises(StudyError, match="cannot be read: Permission denied"):
        load_study(path)


def test_a_product_is_counted_before_it_is_expanded(tmp_path: Path) -> None:
    values = list(range(1, 400))
    text = f"{HEAD}[[grid]]\nbatch_size = {values}\nepochs = {values}\nprojection.depth = {values}"
    assert (
        "makes 63521199 cells, 63521199 arms times 1 seeds"
        in mistake(tmp_path / "s.toml", text).problem
    )


def test_a_field_that_is_fine_alone_and_wrong_together(tmp_path: Path) -> None:
    error = mistake(tmp_path / "s.toml", f"{HEAD}[[grid]]\nbatch_size = [64, 60000]")
    assert "60000" in error.problem
