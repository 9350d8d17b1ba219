"""Pruning without a cluster: Optuna's own pruners on the cheap metric, across launches."""

from pathlib import Path

import pytest
from optuna.trial import TrialState
from sweeping import BASE, CHEAP, World, epoch, sweep, train

from simclr_lab.cell import EpochReport, State
from simclr_lab.spaces.domain import Choice, Range
from simclr_lab.training.events import CellStarted
from simclr_lab.tuning.plan import PlannedCell
from simclr_lab.tuning.verdicts import PRUNED_AFTER

EIGHT = BASE.with_fields({"epochs": 8})
HALVING = ("successive_halving", {"min_epochs": 1, "reduction_factor": 2})


def by_hand(scores: list[float], epochs: int) -> list[int]:
    """Epochs that asynchronous successive halving (factor 2) trains, one trial after another.

    At 1, 2, 4, ... epochs a trial goes on if it is in the better half, at least the best, of those
    that have come so far.
    """
    rungs: dict[int, list[float]] = {}
    trained = []
    for score in scores:
        last = epochs
        for rung in (1, 2, 4):
            passed = rungs.setdefault(rung, [])
            passed.append(score * rung / epochs)
            best = sorted(passed, reverse=True)[: max(len(passed) // 2, 1)]
            if score * rung / epochs < best[-1]:
                last = rung
                break
        trained.append(last)
    return trained


def test_successive_halving_trains_what_a_hand_would(tmp_path: Path) -> None:
    world = World()
    source = sweep(world, tmp_path / "journal", 7, pruning=HALVING, base=EIGHT)
    scores = [50.0, 40.0, 60.0, 45.0, 55.0, 70.0, 30.0]
    trained = []
    while isinstance(cell := source.next_cell(), PlannedCell):
        trained.append(train(source, world, cell, scores[len(trained)]))
    assert trained == by_hand(scores, 8)
    assert 1 in trained
    assert 8 in trained
    for trial, epochs in zip(source.study.get_trials(), trained, strict=True):
        assert trial.state is (TrialState.COMPLETE if epochs == 8 else TrialState.PRUNED)
        assert max(trial.intermediate_values) == epochs
        assert trial.user_attrs.get(PRUNED_AFTER) == (epochs if epochs < 8 else None)
    assert source.remaining() == 0  # pruned cells are done
    assert sweep(world, tmp_path / "journal", 7, pruning=HALVING, base=EIGHT).remaining() == 0


def test_its_history_survives_a_restart(tmp_path: Path) -> None:
    """One launch a trial: the same trials are pruned at the same epochs."""
    world = World()
    scores = [50.0, 40.0, 60.0, 45.0, 55.0, 70.0, 30.0]
    trained = []
    for number, score in enumerate(scores, start=1):
        source = sweep(world, tmp_path / "journal", number, pruning=HALVING, base=EIGHT)
        trained.append(train(source, world, source.next_cell(), score))
    assert trained == by_hand(scores, 8)


@pytest.mark.parametrize("name", ["hyperband", "median"])
def test_the_other_pruners_prune_the_bad_and_keep_the_best(tmp_path: Path, name: str) -> None:
    world = World()
    options = {"hyperband": {"reduction_factor": 2}, "median": {"n_startup_trials": 1}}[name]
    source = sweep(world, tmp_path / "journal", 12, pruning=(name, options), base=EIGHT)
    trained: dict[float, int] = {}
    for score in (50.0, 10.0, 52.0, 11.0, 54.0, 12.0, 56.0, 13.0, 58.0, 14.0, 60.0, 15.0):
        trained[score] = train(source, world, source.next_cell(), score)
    assert trained[60.0] == 8
    assert sum(trained[score] < 8 for score in (10.0, 11.0, 12.0, 13.0, 14.0, 15.0)) >= 3


def test_min_epochs_are_trained_by_all(tmp_path: Path) -> None:
    world = World()
    for name in ("successive_halving", "hyperband", "median"):
        source = sweep(
            world, tmp_path / name, 6, pruning=(name, {"min_epochs": 4}), base=EIGHT, sampler="qmc"
        )
        trained = [train(source, world, source.next_cell(), 60.0 - 5 * n) for n in range(6)]
        assert min(trained) >= 4
        world.records.clear()


def begun(cell: PlannedCell, values: list[float]) -> CellStarted:
    history = [EpochReport(n, 10 * n, n, {CHEAP: v}) for n, v in enumerate(values, start=1)]
    return CellStarted(cell.key, 0, 1, 1, tuple(history))


def test_a_continued_cell_is_judged_by_its_earlier_epochs_once(tmp_path: Path) -> None:
    world = World()
    source = sweep(world, tmp_path / "journal", 2, pruning=HALVING, base=EIGHT)
    train(source, world, source.next_cell(), 60.0)
    cell = source.next_cell()
    # Another study has trained it for three epochs; at epoch 1 it was already too bad.
    assert source.reported(cell, begun(cell, [1.0, 2.0, 3.0]))
    source.ended(cell, world.leave(cell, State.PRUNED))
    pruned = source.study.get_trials()[1]
    assert pruned.intermediate_values == {1: 1.0}
    assert pruned.state is TrialState.PRUNED


def test_a_decision_outlives_a_crash_before_the_cells_end(tmp_path: Path) -> None:
    world = World()
    source = sweep(world, tmp_path / "journal", 2, pruning=HALVING, base=EIGHT)
    train(source, world, source.next_cell(), 60.0)
    cell = source.next_cell()
    assert source.reported(cell, epoch(cell, 1, 1.0))
    world.held.clear()  # the driver dies here
    again = sweep(world, tmp_path / "journal", 2, pruning=HALVING, base=EIGHT)
    assert again.next_cell().key == cell.key
    assert again.reported(cell, begun(cell, [1.0]))


def test_a_last_epoch_is_evaluated_in_any_case(tmp_path: Path) -> None:
    world = World()
    base = BASE.with_fields({"epochs": 2})
    source = sweep(world, tmp_path / "journal", 2, pruning=HALVING, base=base)
    train(source, world, source.next_cell(), 60.0)
    cell = source.next_cell()
    assert not source.reported(cell, epoch(cell, 2, 1.0))


def test_a_duplicate_of_a_pruned_cell_is_pruned_likewise(tmp_path: Path) -> None:
    world = World()
    domains = {"projection.depth": Choice((0, 1, 2))}
    source = sweep(world, tmp_path / "journal", 3, domains, "random", pruning=HALVING, base=EIGHT)
    handed = 0
    while isinstance(cell := source.next_cell(), PlannedCell):
        handed += 1
        train(source, world, cell, 60.0 - 20 * handed)
    assert handed == 3
    by_key: dict[str, set[tuple[object, ...]]] = {}
    for trial in source.study.get_trials():
        seen = (trial.state, trial.value, tuple(trial.intermediate_values.items()))
        by_key.setdefault(trial.user_attrs["key"], set()).add(seen)
    assert len(source.study.get_trials()) > 3
    assert all(
        len({state for state, *_ in seen}) == 1 and len({value for _, value, _ in seen}) == 1
        for seen in by_key.values()
    )
    assert {state for seen in by_key.values() for state, *_ in seen} == {
        TrialState.COMPLETE,
        TrialState.PRUNED,
    }


def test_without_pruning_a_cell_that_another_sweep_pruned_is_trained_to_the_end(tmp_path) -> None:
    world = World()
    cell = sweep(World(), tmp_path / "probe", 1, base=EIGHT).next_cell()
    world.leave(cell, State.PRUNED)
    source = sweep(world, tmp_path / "journal", 1, base=EIGHT)
    assert train(source, world, source.next_cell(), 50.0) == 8
    assert source.study.get_trials()[0].value == 50.0


def test_an_epoch_without_the_cheap_metric_is_passed_over(tmp_path: Path) -> None:
    world = World()
    domains = {"loss.temperature": Range(0.05, 1.0, "log")}
    source = sweep(world, tmp_path / "journal", 1, domains, pruning=HALVING, base=EIGHT)
    cell = source.next_cell()
    assert not source.reported(cell, epoch(cell, 1, float("nan")))
    assert source.study.get_trials()[0].intermediate_values == {}
