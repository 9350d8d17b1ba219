"""Points that come first, and fields that are searched only where others say so."""

from pathlib import Path

from sweeping import World, drain, sweep

from simclr_lab.spaces.domain import Choice, Range, ordered

CONDITIONAL = ordered(
    {
        "loss.temperature": Range(0.05, 1.0, "log", when=(("loss.name", ("nt_xent",)),)),
        "loss.semi_hard": Choice((False, True), when=(("loss.name", ("margin_triplet",)),)),
        "loss.name": Choice(("nt_xent", "margin_triplet")),
        "augment.operators": Choice((["crop"], ["crop", "color"])),
    }
)


def test_first_points_are_tried_first_and_once(tmp_path: Path) -> None:
    world = World()
    first = [
        {"loss.name": "nt_xent", "loss.temperature": 0.1, "augment.operators": ["crop", "color"]},
        {"loss.name": "margin_triplet"},
    ]
    source = sweep(world, tmp_path / "journal", 4, CONDITIONAL, first=first)
    assert source.remaining() == 4
    handed = drain(source, world)
    assert len(handed) == 4
    flat = [cell.recipe.flat() for cell in handed]
    assert flat[0]["loss.temperature"] == 0.1
    assert flat[0]["augment.operators"] == ("crop", "color")
    assert flat[1]["loss.name"] == "margin_triplet"
    again = sweep(world, tmp_path / "journal", 4, CONDITIONAL, first=first)
    assert drain(again, world) == []
    assert len(again.study.get_trials()) == len(source.study.get_trials())


def test_points_added_later_are_tried_next(tmp_path: Path) -> None:
    world = World()
    drain(sweep(world, tmp_path / "journal", 2, CONDITIONAL), world)
    point = {"loss.name": "nt_xent", "loss.temperature": 0.5}
    (cell,) = drain(sweep(world, tmp_path / "journal", 3, CONDITIONAL, first=[point]), world)
    assert cell.recipe.loss.temperature == 0.5


def test_a_field_that_is_not_searched_stays_as_the_scale_has_it(tmp_path: Path) -> None:
    world = World()
    handed = drain(sweep(world, tmp_path / "journal", 8, CONDITIONAL), world)
    names = {cell.recipe.loss.name for cell in handed}
    assert names == {"nt_xent", "margin_triplet"}
    for cell in handed:
        searched = dict(part.split("=", 1) for part in cell.arm.split(", loss."))
        assert ("temperature" in cell.arm) is (cell.recipe.loss.name == "nt_xent")
        assert ("semi_hard" in cell.arm) is (cell.recipe.loss.name == "margin_triplet")
        assert searched


def test_what_a_crash_cut_between_two_fields_is_completed(tmp_path: Path) -> None:
    """A trial that holds only its first value is an orphan too; the rest is proposed then."""
    world = World()
    source = sweep(world, tmp_path / "journal", 2, CONDITIONAL)
    trial = source.study.ask()
    trial.suggest_categorical("loss.name", ["nt_xent", "margin_triplet"])
    again = sweep(world, tmp_path / "journal", 2, CONDITIONAL)
    assert again.remaining() == 2
    assert len(drain(again, world)) == 2
    stored = again.study.get_trials()[trial.number]
    assert "augment.operators" in stored.params
    assert stored.user_attrs["key"]
