"""The study files that ship, and what the designs make of a file."""

from pathlib import Path

import pytest

from simclr_lab.fields import FieldError
from simclr_lab.recipes import named_recipe
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.spaces.claims import contrast_arms
from simclr_lab.spaces.domain import Choice, Range
from simclr_lab.spaces.files import load_study
from simclr_lab.spaces.sweep import Sweep
from simclr_lab.spaces.tree import assignment, parse_assignment

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "search_spaces").rglob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("scale", ["laptop", "cifar10_resnet18"])
def test_every_file_that_ships_is_valid(path: Path, scale: str) -> None:
    study = load_study(path)
    study.check(named_recipe(scale), scale)
    assert study.question
    assert study.name == path.stem


def test_there_are_files() -> None:
    assert {path.parent.name for path in FILES} == {"ablations", "sweeps"}


def ablation(tmp_path: Path, text: str) -> Ablation:
    path = tmp_path / "study.toml"
    path.write_text('metric = "linear/test_top1"\nseeds = [0, 1]\n' + text)
    study = load_study(path)
    assert isinstance(study, Ablation)
    return study


def labels(study: Ablation, scale: str = "demo") -> list[str]:
    return [arm.label for arm in study.arms(named_recipe(scale), scale)]


def test_grids_are_a_union_of_products_and_both_spellings_mean_the_same(tmp_path: Path) -> None:
    study = ablation(
        tmp_path,
        "[[grid]]\nloss.normalize=[true]\nloss.temperature=[0.1, 0.5]\n"
        "[[grid]]\nloss = { normalize = [false], temperature = [10.0] }",
    )
    assert labels(study) == [
        "loss.normalize=true, loss.temperature=0.1",
        "loss.normalize=true, loss.temperature=0.5",
        "loss.normalize=false, loss.temperature=10.0",
    ]


def test_one_at_a_time_starts_from_the_baseline(tmp_path: Path) -> None:
    study = ablation(
        tmp_path,
        "baseline={loss.temperature=0.1}\n[one_at_a_time]\n"
        "loss.temperature=[0.1, 1.0]\nprojection.depth=[0]",
    )
    arms = study.arms(named_recipe("demo"), "demo")
    assert [arm.changes for arm in arms] == [{}, {"loss.temperature": 1.0}, {"projection.depth": 0}]
    assert [arm.is_baseline for arm in arms] == [True, False, False]


def test_leave_one_out_switches_components_off(tmp_path: Path) -> None:
    study = ablation(
        tmp_path,
        "[leave_one_out]\nflip = { augment.flip_probability = 0.0 }\n"
        "color = { augment = { jitter_probability = 0.0, color_drop_probability = 0.0 } }",
    )
    arms = study.arms(named_recipe("demo"), "demo")
    assert len(arms) == 3
    assert arms[2].recipe.augment.jitter_probability == 0.0
    assert arms[2].recipe.augment.flip_probability == 0.5


def test_a_scale_may_change_seeds_and_baseline(tmp_path: Path) -> None:
    study = ablation(tmp_path, "[scale.laptop]\nseeds=[5]\nbaseline={loss.temperature=0.3}\n")
    assert study.seeds_at("demo") == (0, 1)
    assert study.seeds_at("laptop") == (5,)
    (arm,) = study.arms(named_recipe("laptop"), "laptop")
    assert arm.recipe.loss.temperature == 0.3


def test_the_metrics_protocol_is_switched_on(tmp_path: Path) -> None:
    base = named_recipe("demo").with_fields({"evaluation.protocols": ["ridge"]})
    (arm,) = ablation(tmp_path, "").arms(base, "demo")
    assert arm.recipe.evaluation.protocols == ("ridge", "linear")


def test_table_1_is_complete() -> None:
    """Both rows of the paper's table, six columns each, and claims that name two arms apiece."""
    study = load_study(ROOT / "search_spaces" / "ablations" / "color_strength.toml")
    assert isinstance(study, Ablation)
    arms = study.arms(named_recipe("laptop"), "laptop")
    columns = [
        "autoaugment"
        if "autoaugment" in arm.recipe.augment.operators
        else (arm.recipe.augment.color_strength, arm.recipe.augment.blur_probability > 0)
        for arm in arms
    ]
    expected = [*((s, False) for s in (0.125, 0.25, 0.5, 1.0)), (1.0, True), "autoaugment"]
    for loss in ("nt_xent", "cross_entropy"):
        row = [c for arm, c in zip(arms, columns, strict=True) if arm.recipe.loss.name == loss]
        assert row == expected
    assert len({arm.label for arm in arms}) == len(arms) == 12
    pairs = [contrast_arms(claim.contrast, arms) for claim in study.claims]
    assert len({frozenset(pair) for pair in pairs}) == 4
    assert all(first != second for first, second in pairs)


def test_a_contrast_may_name_a_list(tmp_path: Path) -> None:
    study = ablation(tmp_path, "[[grid]]\naugment.operators=[['crop'], ['crop', 'color']]")
    first, second = labels(study)
    found = contrast_arms(f"{second} - {first}", study.arms(named_recipe("demo"), "demo"))
    assert found == (second, first)


def test_domains_of_a_sweep_and_its_scale(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        'metric="linear/val_top1"\ntrials=9\n[space]\nbatch_size={choice=[64,128]}\n'
        "optimizer.learning_rate={min=0.1,max=1.0,scale='log'}\nprojection.depth={min=0,max=3}\n"
        "[scale.laptop]\ntrials=4\nspace.batch_size={choice=[32]}"
    )
    study = load_study(path)
    assert isinstance(study, Sweep)
    base = named_recipe("demo")
    assert study.domains(base, "demo") == {
        "batch_size": Choice((64, 128)),
        "optimizer.learning_rate": Range(0.1, 1.0, "log"),
        "projection.depth": Range(0, 3, "linear", integer=True),
    }
    assert study.domains(base, "laptop")["batch_size"] == Choice((32,))
    assert (study.trials_at("demo"), study.trials_at("laptop")) == (9, 4)


def test_an_assignment_is_read_as_it_was_written() -> None:
    changes = {
        "loss.normalize": True,
        "augment.operators": ["crop", "color"],
        "loss.temperature": 0.1,
        "optimizer.name": "lars",
        "epochs": 3,
    }
    assert parse_assignment(assignment(changes)) == changes
    with pytest.raises(ValueError, match="'baseline' has no '='"):
        parse_assignment("baseline")


def test_a_seed_is_no_field() -> None:
    with pytest.raises(FieldError):
        named_recipe("demo").with_fields({"seed": 1})
