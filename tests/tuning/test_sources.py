"""Sources of cells without a cluster: leases, reuse, waiting; Optuna told the truth."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sweeping import BASE, DIGEST, World, accuracy, drain, sweep

from simclr_lab.cell import Outcome, State
from simclr_lab.spaces.domain import Choice
from simclr_lab.training.events import CellFailed
from simclr_lab.tuning.optuna_source import MAX_DUPLICATES
from simclr_lab.tuning.plan import Action, PlannedCell, Replicate, plan_cells
from simclr_lab.tuning.source import AblationSource, Exhausted, Wait


def planned(world: World, count: int = 3) -> list[PlannedCell]:
    replicates = [Replicate("arm", seed, BASE) for seed in range(count)]
    return plan_cells(replicates, world.records, data_digest=DIGEST)


def test_an_ablations_cells_come_in_order_under_their_leases() -> None:
    world = World()
    cells = planned(world)
    source = AblationSource(cells, world.surroundings())
    handed = [source.next_cell() for _ in range(3)]
    assert handed == cells
    assert world.held == {cell.key for cell in cells}
    assert isinstance(source.next_cell(), Exhausted)
    for cell in cells:
        source.ended(cell, world.finish(cell, 1.0))
    assert world.held == set()


def test_a_cell_that_another_study_holds_comes_last_and_is_reused_when_done() -> None:
    world = World()
    cells = planned(world, 2)
    world.held.add(cells[0].key)
    source = AblationSource(cells, world.surroundings())
    assert source.next_cell() == cells[1]
    assert isinstance(source.next_cell(), Wait)
    world.finish(cells[0], 50.0)
    world.held.remove(cells[0].key)
    assert isinstance(source.next_cell(), Exhausted)
    assert world.told == [cells[0].key]
    assert world.held == {cells[1].key}


def test_a_cell_that_was_running_when_planned_is_reused_once_finished() -> None:
    world = World()
    (cell,) = planned(world, 1)
    world.finish(cell, 1.0)
    finished = world.records[cell.key]
    world.records[cell.key] = replace(finished, state=State.RUNNING, evaluations={})
    (cell,) = planned(world, 1)
    assert cell.action is Action.CONTINUE
    source = AblationSource([cell], world.surroundings())
    world.records[cell.key] = finished
    assert isinstance(source.next_cell(), Exhausted)
    assert world.told == [cell.key]
    assert world.held == set()


def test_a_cell_freed_unfinished_is_run_here() -> None:
    world = World()
    cells = planned(world, 1)
    world.held.add(cells[0].key)
    source = AblationSource(cells, world.surroundings())
    assert isinstance(source.next_cell(), Wait)
    world.held.clear()
    assert source.next_cell() == cells[0]


def test_no_cell_starts_while_the_ledger_is_away() -> None:
    world = World(ledger_there=False)
    source = AblationSource(planned(world), world.surroundings())
    assert isinstance(source.next_cell(), Wait)
    world.ledger_there = True
    assert isinstance(source.next_cell(), PlannedCell)


def test_a_sweep_runs_its_trials_and_tells_each_value(tmp_path: Path) -> None:
    world = World()
    source = sweep(world, tmp_path / "journal")
    handed = drain(source, world)
    assert len({cell.key for cell in handed}) == 8
    trials = source.study.get_trials()
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    values = {trial.user_attrs["key"]: trial.value for trial in trials}
    assert values == {cell.key: accuracy(cell) for cell in handed}
    assert world.held == set()
    assert {place.key for place in world.places} == set(values)


def test_the_same_command_again_asks_nothing_more(tmp_path: Path) -> None:
    world = World()
    drain(sweep(world, tmp_path / "journal"), world)
    again = sweep(world, tmp_path / "journal")
    assert drain(again, world) == []
    assert len(again.study.get_trials()) == 8
    more = sweep(world, tmp_path / "journal", trials=10)
    assert len(drain(more, world)) == 2


def test_reopened_sweeps_do_not_propose_their_first_points_again(tmp_path: Path) -> None:
    world = World()
    drain(sweep(world, tmp_path / "journal", trials=3), world)
    handed = drain(sweep(world, tmp_path / "journal", trials=6), world)
    assert len(handed) == 3
    whole = World()
    together = drain(sweep(whole, tmp_path / "other", trials=6), whole)
    assert [cell.key for cell in together[3:]] == [cell.key for cell in handed]


def test_what_a_dead_launch_was_running_is_continued_first(tmp_path: Path) -> None:
    world = World()
    source = sweep(world, tmp_path / "journal")
    lost = [source.next_cell(), source.next_cell()]
    world.held.clear()  # the process is gone, and its leases with it
    again = sweep(world, tmp_path / "journal")
    assert again.remaining() == 8
    handed = drain(again, world)
    assert [cell.key for cell in handed[:2]] == [cell.key for cell in lost]
    assert len(handed) == 8
    assert {t.state for t in again.study.get_trials()} == {TrialState.COMPLETE}


def test_a_cell_finished_before_its_end_was_told_is_not_run_again(tmp_path: Path) -> None:
    world = World()
    cell = sweep(world, tmp_path / "journal").next_cell()
    world.finish(cell, 44.0)
    world.held.clear()
    again = sweep(world, tmp_path / "journal")
    assert cell.key not in [each.key for each in drain(again, world)]
    assert again.study.get_trials()[0].value == 44.0


def test_a_duplicate_gets_the_ledgers_value_and_costs_no_cell(tmp_path: Path) -> None:
    world = World()
    domains = {"projection.depth": Choice((0, 1, 2))}
    source = sweep(world, tmp_path / "journal", trials=3, domains=domains, sampler="random")
    handed = drain(source, world)
    assert sorted(cell.recipe.projection.depth for cell in handed) == [0, 1, 2]
    for trial in source.study.get_trials():
        depth = trial.params["projection.depth"]
        assert trial.value == next(
            accuracy(c) for c in handed if c.recipe.projection.depth == depth
        )


def test_a_duplicate_of_a_running_cell_gets_its_value_when_it_ends(tmp_path: Path) -> None:
    world = World()
    domains = {"projection.depth": Choice((0, 1))}
    source = sweep(world, tmp_path / "journal", trials=2, domains=domains, sampler="random")
    first, second = source.next_cell(), source.next_cell()
    source.ended(first, world.finish(first, 1.0))
    source.ended(second, world.finish(second, 2.0))
    values = {t.params["projection.depth"]: t.value for t in source.study.get_trials()}
    expected = {first.recipe.projection.depth: 1.0, second.recipe.projection.depth: 2.0}
    assert values == expected
    assert all(t.state is TrialState.COMPLETE for t in source.study.get_trials())


def test_an_exhausted_space_ends_the_sweep(tmp_path: Path) -> None:
    world = World()
    domains = {"projection.depth": Choice((0, 1))}
    source = sweep(world, tmp_path / "journal", trials=5, domains=domains)
    assert len(drain(source, world)) == 2
    assert source.space_exhausted()
    assert len(source.study.get_trials()) <= 2 + 2 * (MAX_DUPLICATES + 2)


def test_diverged_is_chance_failed_is_failed(tmp_path: Path) -> None:
    world = World()
    source = sweep(world, tmp_path / "journal", trials=2)
    first, second = source.next_cell(), source.next_cell()
    source.ended(first, world.finish(first, 0.0, Outcome.DIVERGED))
    source.ended(second, CellFailed(second.key, "its process was lost"))
    trials = source.study.get_trials()
    assert (trials[0].state, trials[0].value) == (TrialState.COMPLETE, 10.0)
    assert trials[1].state is TrialState.FAIL


def test_a_cell_of_another_study_is_reused_at_once(tmp_path: Path) -> None:
    world = World()
    probe = sweep(World(), tmp_path / "probe", trials=1).next_cell()
    world.finish(probe, 33.0)
    source = sweep(world, tmp_path / "journal", trials=1)
    assert drain(source, world) == []
    assert source.study.get_trials()[0].value == 33.0
    assert world.told == [probe.key]


@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "gp"])
def test_every_sampler_proposes_inside_the_space(tmp_path: Path, name: str) -> None:
    world = World()
    handed = drain(sweep(world, tmp_path / "journal", trials=4, sampler=name), world)
    assert len(handed) == 4
    for cell in handed:
        assert 0.05 <= cell.recipe.loss.temperature <= 1.0
        assert cell.recipe.batch_size in (64, 128)
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
