"""Nuisance fields are tuned inside each arm: equal budgets, honest seeds, nothing done twice."""

import itertools
import random
from dataclasses import replace
from pathlib import Path

import pytest
from pretended import DIGEST, Machine, finished, key, plan

from simclr_lab.cell import CellRecord, EpochReport, Outcome, State
from simclr_lab.fields import FieldError
from simclr_lab.recipes import named_recipe
from simclr_lab.spaces.ablation import Arm
from simclr_lab.spaces.domain import Choice, Range
from simclr_lab.spaces.nuisance import Nuisance, NuisanceSampler
from simclr_lab.training.events import CellEpoch, CellFailed
from simclr_lab.tuning.nuisance import (
    ArmSource,
    ListedTrials,
    NuisanceSource,
    SearchedTrials,
    as_trials,
)
from simclr_lab.tuning.optuna_source import OptunaSource
from simclr_lab.tuning.optuna_study import open_study
from simclr_lab.tuning.plan import Action, PlannedCell, Replicate, reference_replicates
from simclr_lab.tuning.source import AblationSource, Exhausted, Wait
from simclr_lab.tuning.tuned_arm import ArmPlanner

BASE = named_recipe("demo")
RATE = "optimizer.learning_rate"
METRIC, TEST = "linear/val_top1", "linear/test_top1"
ARMS = [
    Arm(
        f"batch_size={batch}", {"batch_size": batch}, BASE.with_fields({"batch_size": batch}), False
    )
    for batch in (64, 128)
]
LABELS = {arm.label for arm in ARMS}
NUISANCE = Nuisance(trials=4, metric=METRIC, domains={RATE: Range(0.02, 2.0, "log")})
SEEDS = (0, 1)


def planner(nuisance: Nuisance = NUISANCE, seeds: tuple[int, ...] = SEEDS) -> ArmPlanner:
    return ArmPlanner(nuisance, seeds, 10.0, key, plan)


def source(
    machine: Machine, nuisance: Nuisance = NUISANCE, seeds: tuple[int, ...] = SEEDS, arms=ARMS
) -> NuisanceSource:
    planning = planner(nuisance, seeds)
    outside = machine.surroundings()

    def one(arm) -> ArmSource:
        return ArmSource(
            arm.label,
            ListedTrials(arm, planning, outside),
            len(seeds),
            lambda chosen: planning.reported(arm, chosen, machine.records),
            outside,
        )

    references = plan(reference_replicates(BASE, seeds), machine.records)
    planned = planning.arms(arms, machine.records)
    return NuisanceSource([one(arm) for arm in planned], AblationSource(references, outside))


def score(cell: PlannedCell) -> dict[str, float]:
    """Validation is best near a rate of its own for each batch; test says something else."""
    best = {64: 0.1, 128: 0.9}.get(cell.recipe.batch_size, 1.0)
    value = 50 - 10 * abs(cell.recipe.optimizer.learning_rate - best)
    return {METRIC: value, TEST: 90 - value + cell.seed}


def drain(cells: NuisanceSource, machine: Machine, at_once: int = 1, shuffle: int = 0) -> list:
    """Run everything, up to some cells at once, which end in a shuffled order."""
    order, running, handed = random.Random(shuffle), [], []
    while True:
        cell = cells.next_cell() if len(running) < at_once else None
        if isinstance(cell, PlannedCell):
            running.append(cell)
            handed.append(cell)
            continue
        if not running:
            assert isinstance(cell, Exhausted)
            return handed
        ended = running.pop(order.randrange(len(running)))
        cells.ended(ended, machine.finish(ended, score(ended)))


def is_trial(cell: PlannedCell) -> bool:
    return cell.seed == NUISANCE.seed


def best_rate(cells: list[PlannedCell], batch: int) -> float:
    """The slow way: look at all trials of the arm."""
    trials = [c for c in cells if is_trial(c) and c.recipe.batch_size == batch]
    return max(trials, key=lambda c: score(c)[METRIC]).recipe.optimizer.learning_rate


def test_each_arm_gets_its_trials_and_then_its_best_values_with_every_seed() -> None:
    machine = Machine()
    whole = source(machine)
    assert whole.remaining() == 2 * (4 + 2) + 3
    handed = drain(whole, machine)
    assert len(handed) == 2 * (4 + 2) + 3
    rates = {}
    for arm in ARMS:
        own = [cell for cell in handed if cell.arm == arm.label]
        trials, reported = own[:4], own[4:]
        assert all(map(is_trial, trials))
        assert len({cell.key for cell in trials}) == 4
        assert [cell.seed for cell in reported] == [0, 1]
        rates[arm.label] = [cell.recipe.optimizer.learning_rate for cell in trials]
        best = best_rate(handed, arm.recipe.batch_size)
        assert {cell.recipe.optimizer.learning_rate for cell in reported} == {best}
        assert {cell.recipe.batch_size for cell in reported} == {arm.recipe.batch_size}
    assert len({tuple(tried) for tried in rates.values()}) == 1  # the same values for every arm
    assert best_rate(handed, 64) != best_rate(handed, 128)
    assert machine.held == set()
    assert whole.problems() == []
    assert whole.outcomes()[0] == f"batch_size=64: chose {RATE}={best_rate(handed, 64)}"


def test_the_order_of_ends_changes_nothing() -> None:
    alone = Machine()
    drain(source(alone), alone)
    for at_once, shuffle in itertools.product((2, 3, 7), range(3)):
        machine = Machine()
        drain(source(machine), machine, at_once, shuffle)
        assert machine.records == alone.records


@pytest.mark.parametrize("ends", range(16))
def test_killed_at_any_point_the_same_command_does_what_is_left(ends: int) -> None:
    """Kill after a number of ends, with two more cells running; the records are the undisturbed."""
    undisturbed = Machine()
    drain(source(undisturbed), undisturbed)
    machine = Machine()
    first, done = source(machine), []
    for _ in range(ends):
        cell = first.next_cell()
        if not isinstance(cell, PlannedCell):
            break
        first.ended(cell, machine.finish(cell, score(cell)))
        done.append(cell.key)
    first.next_cell(), first.next_cell()
    machine.die()
    handed = drain(source(machine), machine, at_once=2, shuffle=ends)
    assert machine.records == undisturbed.records
    assert not {cell.key for cell in handed} & set(done)
    assert drain(source(machine), machine) == []


def test_while_the_last_trials_run_other_arms_are_served_and_nothing_is_chosen() -> None:
    machine = Machine()
    cells = source(machine)
    trials = [cells.next_cell() for _ in range(4)]
    other = cells.next_cell()
    assert other.arm == ARMS[1].label
    for cell in trials:
        assert cells.arms[0].chosen is None
        cells.ended(cell, machine.finish(cell, score(cell)))
    assert not is_trial(cells.next_cell())  # chosen, and first again
    last = [cells.next_cell() for _ in range(7)]
    assert sum(isinstance(cell, PlannedCell) for cell in last) == 7
    assert isinstance(cells.next_cell(), Wait)  # the second arm waits for its trials


def test_validation_alone_chooses() -> None:
    machine = Machine()
    handed = drain(source(machine), machine)
    for arm in ARMS:
        own = [cell for cell in handed if cell.arm == arm.label]
        on_test = max(filter(is_trial, own), key=lambda cell: score(cell)[TEST])
        assert own[-1].recipe.optimizer.learning_rate != on_test.recipe.optimizer.learning_rate


def test_more_seeds_later_add_only_those() -> None:
    machine = Machine()
    drain(source(machine), machine)
    again = source(machine, seeds=(0, 1, 2, 3, 4))
    handed = drain(again, machine)
    assert sorted((c.arm, c.seed) for c in handed) == sorted(
        (arm, seed) for arm in (*LABELS, "random encoder") for seed in (2, 3, 4)
    )


def test_a_diverged_trial_scored_what_guessing_scores() -> None:
    machine = Machine()
    cells = source(machine, arms=ARMS[:1])
    for _ in range(4):
        cell = cells.next_cell()
        low = cell.recipe.optimizer.learning_rate > 0.1
        outcome = Outcome.DIVERGED if not low else Outcome.OK
        cells.ended(cell, machine.finish(cell, {METRIC: 11.0, TEST: 11.0}, outcome))
    assert cells.next_cell().recipe.optimizer.learning_rate > 0.1


def test_where_all_diverge_the_first_is_reported() -> None:
    machine = Machine()
    cells = source(machine, arms=ARMS[:1])
    trials = [cells.next_cell() for _ in range(4)]
    for cell in reversed(trials):
        cells.ended(cell, machine.finish(cell, {}, Outcome.DIVERGED))
    rate = cells.next_cell().recipe.optimizer.learning_rate
    assert rate == trials[0].recipe.optimizer.learning_rate


@pytest.mark.parametrize("failures", [1, 4])
def test_an_arm_with_failed_trials_is_not_reported_and_the_others_go_on(failures: int) -> None:
    machine = Machine()
    cells = source(machine)
    for index in range(4):
        cell = cells.next_cell()
        if index < failures:
            record = replace(finished(cell, {}), state=State.FAILED, outcome=None, evaluations={})
            machine.records[cell.key] = record
            cells.ended(cell, CellFailed(cell.key, "disk full"))
        else:
            cells.ended(cell, machine.finish(cell, score(cell)))
    handed = drain(cells, machine)
    assert {cell.arm for cell in handed} == {ARMS[1].label, "random encoder", "raw pixels"}
    (problem,) = cells.problems()
    assert problem.startswith(f"batch_size=64: not reported, {failures} of 4 trials")
    assert cells.remaining() == 0
    again = source(machine)
    assert drain(again, machine) == []
    assert again.problems() == [problem]


def test_no_cell_is_stopped_early_and_the_largest_is_known() -> None:
    machine = Machine()
    cells = source(machine)
    assert cells.widest() == 1
    cell = cells.next_cell()
    report = EpochReport(1, 10, 0, {"ridge/val_top1": 0.0})
    assert cells.reported(cell, CellEpoch(cell.key, report)) is False
    cells.ended(cell, machine.finish(cell, score(cell)))
    drain(cells, machine)
    assert cells.widest() == 1


def test_trials_have_a_role_of_their_own() -> None:
    machine = Machine()
    drain(source(machine), machine)
    for arm in planner().arms(ARMS, machine.records):
        assert [place.role for place in arm.places] == ["tuning"] * 4 + ["reported"] * 2
        assert {place.arm for place in arm.places} == {arm.label}


def test_a_cell_that_another_study_finished_meanwhile_counts() -> None:
    machine = Machine()
    cells = source(machine, arms=ARMS[:1])
    trials = [cells.next_cell() for _ in range(3)]
    (fourth,) = [c for c in planner().arms(ARMS[:1], {})[0].trials if c not in trials]
    machine.finish(fourth, {METRIC: 99.0, TEST: 0.0})
    for cell in trials:
        cells.ended(cell, machine.finish(cell, score(cell)))
    rate = cells.next_cell().recipe.optimizer.learning_rate
    assert rate == fourth.recipe.optimizer.learning_rate
    assert machine.reused == [fourth.key]


def test_a_small_space_has_fewer_trials_for_every_arm() -> None:
    nuisance = Nuisance(trials=8, metric=METRIC, domains={RATE: Choice((0.1, 0.2))})
    for arm in planner(nuisance).arms(ARMS, {}):
        assert len(arm.trials) == 2
        assert arm.wanted == 8


def test_a_field_that_an_arm_ignores_gives_it_fewer_different_trials() -> None:
    domains = {"optimizer.trust_coefficient": Choice((0.001, 0.002, 0.004))}
    arms = [
        Arm(name, {}, BASE.with_fields({"optimizer.name": name}), False) for name in ("lars", "sgd")
    ]
    lars, sgd = planner(Nuisance(trials=3, metric=METRIC, domains=domains)).arms(arms, {})
    assert (len(lars.trials), len(sgd.trials)) == (3, 1)


def test_arms_that_train_the_same_encoder_are_refused() -> None:
    twins = [ARMS[0], replace(ARMS[0], label="again")]
    with pytest.raises(FieldError, match="batch_size=64 and again, which train the same"):
        planner().arms(twins, {})


def test_values_that_an_arm_cannot_have_are_refused_before_anything_runs() -> None:
    nuisance = Nuisance(
        trials=4, metric=METRIC, domains={"optimizer.warmup": Range(0.5, 3.0, "linear")}
    )
    with pytest.raises(FieldError, match="impossible in the arm batch_size=64"):
        planner(nuisance).arms(ARMS, {})


def searched(machine: Machine, journal: Path, arm: Arm = ARMS[0]) -> NuisanceSource:
    nuisance = NUISANCE.model_copy(update={"sampler": NuisanceSampler(name="tpe")})
    planning, outside = planner(nuisance), machine.surroundings()
    (planned,) = planning.arms([arm], machine.records)
    assert planned.trials == ()

    def one(replicate: Replicate) -> PlannedCell:
        return plan([replicate], machine.records)[0]

    trials = OptunaSource(
        study=open_study(journal, f"study@demo: {arm.label}"),
        domains=nuisance.domains,
        base=arm.recipe,
        seed=nuisance.seed,
        trials=nuisance.trials,
        metric=METRIC,
        chance=10.0,
        sampler="tpe",
        sampler_seed=0,
        key=key,
        plan=one,
        outside=as_trials(outside, arm.label),
    )
    report = ArmSource(
        arm.label,
        SearchedTrials(trials),
        len(SEEDS),
        lambda chosen: planning.reported(planned, chosen, machine.records),
        outside,
    )
    return NuisanceSource([report], AblationSource([], outside))


def test_a_searching_sampler_has_a_study_per_arm_and_the_same_budget(tmp_path: Path) -> None:
    machine = Machine()
    cells = searched(machine, tmp_path / "journal")
    assert cells.remaining() == 6
    handed = drain(cells, machine)
    assert [is_trial(cell) for cell in handed] == [True] * 4 + [False] * 2
    best = best_rate(handed, 64)
    assert {c.recipe.optimizer.learning_rate for c in handed[4:]} == {best}
    assert [p.role for p in machine.places.values()] == ["tuning"] * 4 + ["reported"] * 2
    assert {p.arm for p in machine.places.values()} == {ARMS[0].label}
    assert drain(searched(machine, tmp_path / "journal"), machine) == []


def test_a_searching_sampler_continues_what_a_dead_launch_was_running(tmp_path: Path) -> None:
    machine = Machine()
    lost = searched(machine, tmp_path / "journal").next_cell()
    machine.die()
    handed = drain(searched(machine, tmp_path / "journal"), machine)
    assert handed[0].key == lost.key
    assert len(handed) == 6


def test_a_search_whose_trials_all_fail_has_no_choice(tmp_path: Path) -> None:
    machine = Machine()
    cells = searched(machine, tmp_path / "journal")
    while isinstance(cell := cells.next_cell(), PlannedCell):
        cells.ended(cell, CellFailed(cell.key, "disk full"))
    assert cells.problems() == ["batch_size=64: not reported, none of its trials came to an end"]


def test_seeds_are_blocks_and_more_of_them_add_only_the_missing_ones() -> None:
    """Three seeds finished, ten asked: seven to run for each arm."""

    def planned(seeds: range, known: dict[str, CellRecord]) -> list[PlannedCell]:
        return plan([Replicate(a.label, s, a.recipe) for s in seeds for a in ARMS], known)

    known = {cell.key: finished(cell, {METRIC: 1.0}) for cell in planned(range(3), {})}
    cells = planned(range(10), known)
    for arm in ARMS:
        actions = {cell.seed: cell.action for cell in cells if cell.arm == arm.label}
        assert actions == {s: Action.REUSE if s < 3 else Action.RUN for s in range(10)}
    assert {cell.key for cell in cells if cell.action is Action.REUSE} == set(known)
    assert DIGEST in {record.data_digest for record in known.values()}
