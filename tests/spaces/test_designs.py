"""Designs: the arms that a person would write down by hand, and what they refuse."""

import itertools
from pathlib import Path

import pytest

from simclr_lab.recipes import named_recipe
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.spaces.claims import contrast_arms
from simclr_lab.spaces.designs import pair
from simclr_lab.spaces.errors import StudyError
from simclr_lab.spaces.files import load_study
from simclr_lab.spaces.tree import parse_assignment

ROOT = Path(__file__).resolve().parents[2]
DEMO = named_recipe("demo")
SEVEN = ["crop", "cutout", "color", "sobel", "noise", "blur", "rotate"]


def ablation(tmp_path: Path, text: str) -> Ablation:
    path = tmp_path / "study.toml"
    path.write_text('metric = "linear/test_top1"\nseeds = [0, 1]\n' + text)
    study = load_study(path)
    assert isinstance(study, Ablation)
    return study


def arms(tmp_path: Path, text: str) -> list[tuple[str, dict]]:
    return [(arm.label, arm.changes) for arm in ablation(tmp_path, text).arms(DEMO, "demo")]


def problem(tmp_path: Path, text: str) -> StudyError:
    with pytest.raises(StudyError) as caught:
        ablation(tmp_path, text).check(DEMO, "demo")
    return caught.value


def test_a_matrix_holds_every_ordered_pair_and_each_component_alone(tmp_path: Path) -> None:
    text = "[matrix]\naugment.operators = ['crop', 'color', 'blur']"
    assert arms(tmp_path, text) == [
        ("augment.operators=['crop']", {"augment.operators": ["crop"]}),
        ("augment.operators=['crop', 'color']", {"augment.operators": ["crop", "color"]}),
        ("augment.operators=['crop', 'blur']", {"augment.operators": ["crop", "blur"]}),
        ("augment.operators=['color', 'crop']", {"augment.operators": ["color", "crop"]}),
        ("augment.operators=['color']", {"augment.operators": ["color"]}),
        ("augment.operators=['color', 'blur']", {"augment.operators": ["color", "blur"]}),
        ("augment.operators=['blur', 'crop']", {"augment.operators": ["blur", "crop"]}),
        ("augment.operators=['blur', 'color']", {"augment.operators": ["blur", "color"]}),
        ("augment.operators=['blur']", {"augment.operators": ["blur"]}),
    ]


def test_figure_5_is_49_arms_whose_row_and_column_can_be_read_again() -> None:
    study = load_study(ROOT / "search_spaces" / "ablations" / "augmentation_pairs.toml")
    found = study.arms(named_recipe("cifar10_resnet18"), "cifar10_resnet18")
    places = [pair(arm.recipe.augment.operators) for arm in found]
    assert places == list(itertools.product(SEVEN, SEVEN))
    labels = [parse_assignment(arm.label)["augment.operators"] for arm in found]
    assert [pair(components) for components in labels] == places
    assert {arm.recipe.augment.branches for arm in found} == {"second"}
    assert all(arm.recipe.augment.blur_probability > 0 for arm in found)  # else blur does nothing
    assert len({str(arm.recipe.identity_fields()) for arm in found}) == 49


def test_a_pair_is_one_component_or_two() -> None:
    assert pair(["crop"]) == ("crop", "crop")
    assert pair(("color", "crop")) == ("color", "crop")
    with pytest.raises(ValueError, match="is no pair"):
        pair(["crop", "color", "blur"])


def test_a_scale_may_restrict_a_matrix(tmp_path: Path) -> None:
    text = (
        "[matrix]\naugment.operators = ['crop', 'color', 'blur']\n"
        "[scale.laptop.matrix]\naugment.operators = ['crop', 'color']"
    )
    study = ablation(tmp_path, text)
    assert len(study.arms(DEMO, "demo")) == 9
    assert len(study.arms(named_recipe("laptop"), "laptop")) == 4


def test_one_at_a_time_is_the_baseline_and_each_value_alone(tmp_path: Path) -> None:
    text = (
        "baseline = { loss.temperature = 0.1 }\n[one_at_a_time]\n"
        "loss.temperature = [0.1, 0.5, 1.0]\nprojection.depth = [0, 2]\n"
        "augment.operators = [['crop', 'color', 'blur'], ['crop']]"
    )
    assert arms(tmp_path, text) == [
        ("baseline", {}),
        ("loss.temperature=0.5", {"loss.temperature": 0.5}),
        ("loss.temperature=1.0", {"loss.temperature": 1.0}),
        ("projection.depth=0", {"projection.depth": 0}),
        ("augment.operators=['crop']", {"augment.operators": ["crop"]}),
    ]


def test_leave_one_out_names_what_is_left_out(tmp_path: Path) -> None:
    text = (
        "[leave_one_out]\nflip = { augment.flip_probability = 0.0 }\n"
        "color = { augment = { jitter_probability = 0.0, color_drop_probability = 0.0 } }"
    )
    assert arms(tmp_path, text) == [
        ("baseline", {}),
        ("without flip", {"augment.flip_probability": 0.0}),
        (
            "without color",
            {"augment.jitter_probability": 0.0, "augment.color_drop_probability": 0.0},
        ),
    ]


def test_a_path_goes_one_step_after_another_each_on_top_of_those_before(tmp_path: Path) -> None:
    text = (
        "baseline = { loss.temperature = 0.5 }\n"
        "[[path]]\nstep = 'cooler'\nloss.temperature = 0.2\n"
        "[[path]]\nstep = 'shallow, warm again'\nprojection.depth = 1\nloss.temperature = 0.5\n"
        "[[path]]\nstep = 'no flip'\naugment.flip_probability = 0.0\n"
    )
    assert arms(tmp_path, text) == [
        ("baseline", {}),
        ("step 1: cooler", {"loss.temperature": 0.2}),
        ("step 2: shallow, warm again", {"loss.temperature": 0.5, "projection.depth": 1}),
        (
            "step 3: no flip",
            {
                "loss.temperature": 0.5,
                "projection.depth": 1,
                "augment.flip_probability": 0.0,
            },
        ),
    ]


def test_the_path_that_ships_ends_at_the_laptops_recipe() -> None:
    study = load_study(ROOT / "search_spaces" / "ablations" / "tuned_path.toml")
    laptop = named_recipe("laptop")
    assert study.arms(laptop, "laptop")[-1].recipe.identity_fields() == laptop.identity_fields()


def test_a_claim_may_name_an_arm_by_its_label_or_a_list(tmp_path: Path) -> None:
    study = ablation(tmp_path, "[leave_one_out]\nflip = { augment.flip_probability = 0.0 }")
    named = study.arms(DEMO, "demo")
    assert contrast_arms("baseline - without flip", named) == ("baseline", "without flip")
    study = ablation(tmp_path, "[matrix]\naugment.operators = ['crop', 'color']")
    contrast = "augment.operators=['crop', 'color'] - augment.operators=['color']"
    assert contrast_arms(contrast, study.arms(DEMO, "demo")) == (
        "augment.operators=['crop', 'color']",
        "augment.operators=['color']",
    )


@pytest.mark.parametrize(
    ("text", "field", "hint"),
    [
        ("[matrix]\naugment.operators = 'crop'", "augment.operators", "a list of values"),
        ("[matrix]\naugment.operators = ['crop', 'crop']", "matrix", "twice"),
        ("[matrix]\naugment.operators = ['crop', 'krop']", "augment.operators", "'krop'"),
        ("[matrix]\nloss.temperature = [0.1, 1.0]", "loss.temperature", "augment.operators"),
        ("[matrix]\naugment.operators=['crop']\nbatch_size=[64]", "matrix", "names 2 fields"),
        ("[matrix]\nevaluation.protocols=['ridge','knn']", "evaluation.protocols", "judges"),
        ("[[path]]\nloss.temperature = 0.2", "path.1.step", "allowed: a name"),
        ("[[path]]\nstep = 'a=b'\nloss.temperature = 0.2", "path.1.step", "without '='"),
        ("[[path]]\nstep = 'same'\nloss.temperature = 0.1", "path.1", "changes nothing"),
        (
            "[[path]]\nstep='there'\nloss.temperature=0.2\n[[path]]\nstep='back'\nloss.temperature=0.1",
            "path",
            "holds the arm step 2: back twice",
        ),
        ("[[path]]\nstep = 'x'\nloss.temprature = 0.2", "loss.temprature", "did you mean"),
        ("[leave_one_out]\nblur = { augment.blur_probability = 0.0 }", "leave_one_out.blur", "0.0"),
        ("[leave_one_out]\n'a=b' = { epochs = 1 }", "leave_one_out.a=b", "without '='"),
        ("[one_at_a_time]\nloss.temperature = [0.2, 0.2]", "one_at_a_time", "twice"),
        ("[[grid]]\nevaluation.fit_images = [10, 20]", "evaluation.fit_images", "judges"),
        (
            "[matrix]\naugment.operators=['crop']\n[scale.laptop]\none_at_a_time.epochs = [1]",
            "",
            "has matrix and one_at_a_time; allowed: one design",
        ),
    ],
)
def test_mistakes(tmp_path: Path, text: str, field: str, hint: str) -> None:
    error = problem(tmp_path, text)
    assert error.field == field
    assert hint in error.problem


NUMBERS = list(range(1, 5_100))


@pytest.mark.parametrize(
    ("text", "field", "size"),
    [
        (f"[[grid]]\nepochs = {NUMBERS}\nprojection.depth = [0, 1, 2]", "grid", 15297),
        (f"[matrix]\naugment.operators = {['crop'] * 101}", "matrix", 10201),
        (f"[one_at_a_time]\nepochs = {NUMBERS}", "one_at_a_time", 5100),
        (
            "[leave_one_out]\n" + "\n".join(f"c{n} = {{ epochs = {n} }}" for n in NUMBERS),
            "leave_one_out",
            5100,
        ),
        ("\n".join(f"[[path]]\nstep='{n}'\nepochs={n}" for n in NUMBERS), "path", 5100),
    ],
)
def test_every_design_counts_its_cells_before_it_makes_them(
    tmp_path: Path, monkeypatch, text: str, field: str, size: int
) -> None:
    """Two seeds an arm: 5,100 arms are 10,200 cells. No recipe of an arm is made."""
    study = ablation(tmp_path, text)
    made = []
    with_fields = type(DEMO).with_fields

    def counting(self, changes):
        made.append(changes)
        return with_fields(self, changes)

    monkeypatch.setattr(type(DEMO), "with_fields", counting)
    with pytest.raises(StudyError) as caught:
        study.arms(DEMO, "demo")
    assert caught.value.field == field
    assert f"makes {2 * size} cells, {size} arms times 2 seeds" in caught.value.problem
    assert len(made) < 5


def test_seeds_that_are_asked_for_count_too(tmp_path: Path) -> None:
    study = ablation(tmp_path, f"[[grid]]\nprojection.depth = {list(range(9))}\nepochs=[1,2,3]")
    study.check_seeds(range(100), DEMO, "demo")
    with pytest.raises(StudyError, match="seeds: makes 13500 cells, 27 arms times 500"):
        study.check_seeds(range(500), DEMO, "demo")
