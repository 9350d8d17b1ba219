"""Processes that are killed at random moments: the driver, a trial, one worker of two."""

import random
from collections.abc import Callable

import pytest
from faults.cluster import TRIAL
from faults.lab import Lab, Undisturbed, gone, optuna_trials, some_time
from faults.studies import alone, pair, sweep
from optuna.trial import TrialState

from simclr_lab.cell import State

pytestmark = [
    pytest.mark.faults,
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.network,
    pytest.mark.timeout(600),
]


def test_the_driver_is_killed(
    lab: Lab, undisturbed: Undisturbed, moments: random.Random, took: Callable[..., None]
) -> None:
    command = lab.start(alone(lab.folder))
    command.wait_for("started")
    some_time(moments, 2.0)
    command.kill()
    gone(lambda: lab.working(*TRIAL))
    lab.until_done(alone(lab.folder))
    took("alone")
    lab.assert_sound(undisturbed.lab)


def test_the_driver_is_killed_between_a_checkpoint_and_its_record(
    lab: Lab, undisturbed: Undisturbed, took: Callable[..., None]
) -> None:
    command = lab.start(alone(lab.folder))
    switch = lab.switch(f"kill-{command.pid}")
    command.finish()
    assert not switch.exists()
    reports = {key: lab.ledger.epochs_done(r) for key, r in lab.ledger.cells().items()}
    saved = list((lab.home / "storage" / "cells").glob("*/0/step-*.pt"))
    assert saved
    assert any(reports[path.parts[-3]] == 0 for path in saved), "saved, and not yet recorded"
    lab.until_done(alone(lab.folder))
    took("alone")
    lab.assert_sound(undisturbed.lab)


def test_a_trial_is_killed(
    lab: Lab, undisturbed: Undisturbed, moments: random.Random, took: Callable[..., None]
) -> None:
    command = lab.start(alone(lab.folder))
    command.wait_for("started")
    some_time(moments, 1.5)
    trials = lab.working(*TRIAL)
    assert trials
    for process in trials:
        process.kill()
    code, output = command.finish()
    assert code == 0, output
    took("alone")
    lab.assert_sound(undisturbed.lab)


def test_a_worker_of_two_is_killed(
    lab: Lab, undisturbed: Undisturbed, moments: random.Random, took: Callable[..., None]
) -> None:
    command = lab.start(pair(lab.folder))
    command.wait_for("started")
    some_time(moments, 1.5)
    workers = lab.working("RayTrainWorker")
    assert workers, "the cell ended before the fault"
    moments.choice(workers).kill()
    code, output = command.finish()
    assert code == 0, output
    took("pair")
    lab.assert_sound(undisturbed.lab)


def test_the_driver_of_a_sweep_is_killed(
    lab: Lab, undisturbed: Undisturbed, moments: random.Random, took: Callable[..., None]
) -> None:
    """As many trials as wanted, none twice, each with the value of its cell."""
    command = lab.start(sweep(lab.folder))
    command.wait_for("reported", moments.randint(1, 4))
    command.kill()
    gone(lambda: lab.working(*TRIAL))
    lab.until_done(sweep(lab.folder))
    took("search")
    trials, cells = optuna_trials(lab.home), lab.ledger.cells()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert {trial.user_attrs["key"] for trial in trials} == cells.keys()
    for trial in trials:
        cell = cells[trial.user_attrs["key"]]
        assert cell.state is State.FINISHED
        assert trial.value == cell.metrics["linear/val_top1"]
    lab.assert_nothing_left()
