"""Optuna is told the truth: one state for every way in which a cell can end, in every storage."""

from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sweeping import BASE, METRIC, World, accuracy, drain, sweep, train

from simclr_lab.cell import Outcome, State
from simclr_lab.fields import FieldError
from simclr_lab.spaces.costs import COSTS
from simclr_lab.spaces.domain import Choice, Range
from simclr_lab.training.events import CellFailed, CellStopped, FailureKind
from simclr_lab.tuning.plan import PlannedCell
from simclr_lab.tuning.verdicts import MEMORY

COST = "cost/forward_multiplications"
BOTH = {METRIC: "maximize", COST: "minimize"}
WIDTHS = {"encoder.channels": Choice((8, 16, 32)), "loss.temperature": Range(0.05, 1.0, "log")}
OBJECTIVES = [None, BOTH]


@pytest.mark.parametrize("objectives", OBJECTIVES, ids=["one metric", "two"])
def test_every_end_has_its_state(tmp_path: Path, objectives) -> None:
    world = World()
    source = sweep(world, tmp_path / "journal", 5, WIDTHS, objectives=objectives or {})
    cells = [source.next_cell() for _ in range(5)]
    source.ended(cells[0], world.finish(cells[0], 42.0))
    source.ended(cells[1], world.finish(cells[1], 0.0, Outcome.DIVERGED))
    source.ended(cells[2], CellFailed(cells[2].key, "gone", FailureKind.LOST_PROCESS))
    source.ended(cells[3], CellFailed(cells[3].key, "too big", FailureKind.OUT_OF_MEMORY))
    source.ended(cells[4], world.leave(cells[4], State.UNFINISHED))
    trials = source.study.get_trials()
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.PRUNED,
        TrialState.RUNNING,  # the next launch proposes it first
    ]
    assert (trials[0].values[0], trials[1].values[0]) == (42.0, 10.0)
    assert trials[3].constraints == {MEMORY: 1.0}
    assert [trial.user_attrs.get("failure") for trial in trials[2:4]] == [
        "lost_process",
        "out_of_memory",
    ]
    assert world.held == set()
    if objectives:
        assert [t.values[1] for t in trials[:2]] == [COSTS[COST](c.recipe) for c in cells[:2]]


def test_what_a_budget_stopped_is_proposed_first(tmp_path: Path) -> None:
    world = World()
    source = sweep(world, tmp_path / "journal", 3)
    cell = source.next_cell()
    source.ended(cell, CellStopped(cell.key, State.UNFINISHED))
    again = sweep(world, tmp_path / "journal", 3)
    assert again.next_cell().key == cell.key


def test_a_failed_cell_is_told_its_kind_again_and_retried_on_request(tmp_path: Path) -> None:
    world = World()
    source = sweep(world, tmp_path / "journal", 1)
    cell = source.next_cell()
    failed = world.leave(cell, State.FAILED)
    world.records[cell.key].__dict__["reason_kind"] = "out_of_memory"
    source.ended(cell, CellFailed(failed.key, "too big", FailureKind.OUT_OF_MEMORY))
    # The same cell, proposed by another sweep, is not run there either.
    other = sweep(world, tmp_path / "other", 1)
    assert drain(other, world) == []
    assert other.study.get_trials()[0].constraints == {MEMORY: 1.0}
    assert sweep(world, tmp_path / "journal", 1).remaining() == 0
    del world.records[cell.key]
    retried = sweep(world, tmp_path / "journal", 1, retry_failed=True)
    assert retried.remaining() == 1
    assert [each.key for each in drain(retried, world)] == [cell.key]
    assert sweep(world, tmp_path / "journal", 1, retry_failed=True).remaining() == 0


@pytest.mark.parametrize("name", ["tpe", "gp", "random", "qmc", "nsga2"])
def test_samplers_weigh_several_metrics_and_live_with_every_state(tmp_path: Path, name) -> None:
    """Conditions, two directions, and trials in every state in the history of each sampler."""
    world = World()
    domains = {
        "encoder.channels": Choice((8, 16, 32)),
        "loss.name": Choice(("nt_xent", "margin_triplet")),
        "loss.temperature": Range(0.05, 1.0, "log", when=(("loss.name", ("nt_xent",)),)),
        "loss.margin": Range(0.1, 1.0, when=(("loss.name", ("margin_triplet",)),)),
    }
    options = {"tpe": {"n_startup_trials": 3}, "gp": {"n_startup_trials": 3}}
    options["nsga2"] = {"population_size": 3}
    source = sweep(
        world,
        tmp_path / "journal",
        9,
        domains,
        name,
        objectives=BOTH,
        sampler_options=options.get(name, {}),
    )
    for number in range(9):
        cell = source.next_cell()
        assert isinstance(cell, PlannedCell)
        end = {
            1: CellFailed(cell.key, "too big", FailureKind.OUT_OF_MEMORY),
            3: CellFailed(cell.key, "gone", FailureKind.LOST_NODE),
        }.get(number) or world.finish(cell, accuracy(cell))
        source.ended(cell, end)
    for trial in source.study.get_trials():
        temperature = trial.params["loss.name"] == "nt_xent"
        assert ("loss.temperature" in trial.params) is temperature
        assert ("loss.margin" in trial.params) is not temperature
    assert all(t.values[1] > 0 for t in source.study.best_trials)


@pytest.mark.parametrize("kind", ["journal", "database"])
def test_the_storage_alone_tells_everything(tmp_path: Path, kind: str) -> None:
    """A study opened by Optuna itself, as a dashboard does, shows every trial in its state."""
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    storage = tmp_path / "journal" if kind == "journal" else url
    world = World()
    source = sweep(world, storage, 4, pruning=("median", {"n_startup_trials": 1}))
    scores = iter([50.0, 20.0, 60.0, 10.0])
    while isinstance(cell := source.next_cell(), PlannedCell):
        train(source, world, cell, next(scores))
    backend = JournalStorage(JournalFileBackend(str(storage))) if kind == "journal" else url
    study = optuna.load_study(study_name="main@demo", storage=backend, sampler=RandomSampler())
    states = [trial.state.name for trial in study.get_trials()]
    assert states == ["COMPLETE", "PRUNED", "COMPLETE", "PRUNED"]
    assert study.best_value == 60.0
    assert all(trial.intermediate_values for trial in study.get_trials())


def test_a_study_is_not_continued_with_another_meaning(tmp_path: Path) -> None:
    world = World()
    drain(sweep(world, tmp_path / "journal", 2, WIDTHS, objectives={METRIC: "maximize"}), world)
    with pytest.raises(FieldError, match="was begun with linear/val_top1"):
        sweep(world, tmp_path / "journal", 2, WIDTHS, objectives=BOTH)
    for changed in (Choice((8, 64)), Range(8, 32, integer=True)):
        with pytest.raises(FieldError, match=r"space\.encoder\.channels.*earlier trials"):
            sweep(world, tmp_path / "journal", 3, WIDTHS | {"encoder.channels": changed})
    moved = WIDTHS | {"loss.temperature": Range(0.1, 0.5, "log")}
    assert len(drain(sweep(world, tmp_path / "journal", 4, moved), world)) == 2


def test_values_that_go_together_in_no_recipe_are_no_cells(tmp_path: Path) -> None:
    world = World()
    domains = {
        "batch_size": Choice((64, 96)),
        "projection.depth": Choice((0, 1, 2)),
    }
    grouped = BASE.with_fields({"batch_size": 64, "batch_norm.group_images": 64})
    source = sweep(world, tmp_path / "journal", 4, domains, "random", base=grouped)
    handed = drain(source, world)
    assert len(handed) == 3
    assert {cell.recipe.batch_size for cell in handed} == {64}
    assert source.space_exhausted()
    assert TrialState.FAIL in {trial.state for trial in source.study.get_trials()}
