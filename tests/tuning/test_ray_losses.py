"""What is lost on a real Ray, and what is not: drivers, processes, interrupts, second launches."""

import signal
from pathlib import Path

import psutil
import pytest
from ray_commands import (
    LONG,
    TINY,
    Start,
    command,
    finish,
    metrics,
    no_duplicate_rows,
    read_until,
    run,
    study,
)

from simclr_lab.cell import State
from simclr_lab.tracking.ledger import Ledger

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600)]


def test_a_killed_driver_costs_nothing_but_time(undisturbed, tmp_path: Path, start: Start) -> None:
    """Kill -9 in the middle, then the same command: the undisturbed records, each once."""
    home, path, _ = undisturbed
    process = start(command(path), tmp_path)
    read_until(process, "reported")
    children = psutil.Process(process.pid).children(recursive=True)
    names = {child.pid: child.name() for child in children}
    process.kill()
    finish(process)
    # Ray's two agents notice only after a minute; everything that computes or holds a lease ends.
    working = [child for child in children if "Agent" not in names[child.pid]]
    _, left = psutil.wait_procs(working, timeout=60)
    assert not left, f"a dead driver leaves {left}"
    assert Ledger(f"sqlite:///{tmp_path / 'mlflow.db'}").cells()
    code, output = run(command(path), tmp_path)
    assert code == 0, output
    assert "to continue" in output
    assert metrics(tmp_path) == metrics(home)
    no_duplicate_rows(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_cleanly_and_says_how_to_go_on(
    undisturbed, tmp_path, number, start: Start
) -> None:
    home, path, _ = undisturbed
    process = start(command(path, "--seeds", "0"), tmp_path)
    read_until(process, "reported")
    process.send_signal(number)
    output = finish(process)
    assert process.returncode == 3, output
    assert "The same command again continues" in output
    cells = Ledger(f"sqlite:///{tmp_path / 'mlflow.db'}").cells().values()
    assert {cell.state for cell in cells} <= {State.UNFINISHED, State.FINISHED}
    if number == signal.SIGTERM:
        return
    code, output = run(command(path, "--seeds", "0"), tmp_path)
    assert code == 0, output
    ours = metrics(tmp_path)
    assert ours == {key: value for key, value in metrics(home).items() if key in ours}


def test_a_lost_process_is_replaced_and_its_cell_continued(tmp_path: Path, start: Start) -> None:
    path = study(tmp_path, "lost", "[0.1]")
    arguments = command(path, "--seeds", "0", tiny=LONG)
    process = start(arguments, tmp_path / "lost")
    read_until(process, "reported")
    trials = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if any(name in " ".join(child.cmdline()) for name in ("Trainable", "CellTrial"))
    ]  # Ray titles a trial's process by its step, and by its class between steps
    assert trials
    for child in trials:
        child.kill()
    output = finish(process)
    assert process.returncode == 0, output
    assert "1 done, 0 running, 0 failed" in output
    assert "reports kept" in output  # it went on from its checkpoint
    code, output = run(arguments, tmp_path / "whole")
    assert code == 0, output
    assert metrics(tmp_path / "lost") == metrics(tmp_path / "whole")
    no_duplicate_rows(tmp_path / "lost")


def test_a_second_launch_of_a_running_study_is_told_who_runs_it(
    tmp_path: Path, start: Start
) -> None:
    path = study(tmp_path)
    process = start(command(path, "--seeds", "0", tiny=LONG), tmp_path)
    read_until(process, "started")
    code, output = run(command(path, tiny=LONG), tmp_path)
    assert code == 3
    assert f"already running: pid {process.pid}" in output
    process.send_signal(signal.SIGINT)
    finish(process)


def test_two_studies_that_want_one_cell_train_it_once(tmp_path: Path, start: Start) -> None:
    first = start(command(study(tmp_path, "first", "[0.1]"), "--seeds", "0"), tmp_path)
    read_until(first, "started")
    code, output = run(command(study(tmp_path, "second", "[0.1]"), "--seeds", "0"), tmp_path)
    assert code == 0, output
    assert "0 done, 0 running, 0 failed, 1 reused" in output
    finish(first)
    assert first.returncode == 0
    no_duplicate_rows(tmp_path)


def test_a_failing_cell_keeps_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    """A checkpoint folder that cannot be written: the cell fails, by name, with exit code 1."""
    path = study(tmp_path)
    code, output = run(command(path, "--seeds", "0", "--dry-run"), tmp_path)
    plan = [line.split() for line in output.splitlines() if line.startswith("  run")]
    (tmp_path / "storage" / "cells").mkdir(parents=True)
    code, output = run(command(path, "--seeds", "0", "--dry-run"), tmp_path)
    key = _full_key(path, plan[0][1])
    (tmp_path / "storage" / "cells" / key).write_text("in the way")
    code, output = run(command(path, "--seeds", "0"), tmp_path)
    assert code == 1, output
    assert "1 done, 0 running, 1 failed" in output
    record = Ledger(f"sqlite:///{tmp_path / 'mlflow.db'}").cells()[key]
    assert record.state is State.FAILED
    assert "NotADirectoryError" in (record.reason or "")
    assert record.reason_kind == "error"
    log = Ledger(f"sqlite:///{tmp_path / 'mlflow.db'}").text(record.run_id, "failure.txt")
    assert log.startswith("Traceback")
    assert "NotADirectoryError" in log.splitlines()[-1]
    (tmp_path / "storage" / "cells" / key).unlink()
    code, output = run(command(path, "--seeds", "0"), tmp_path)
    assert code == 1
    assert "1 failed before" in output
    code, output = run(command(path, "--seeds", "0", "--retry-failed"), tmp_path)
    assert code == 0, output
    no_duplicate_rows(tmp_path)


def _full_key(path: Path, start_of_key: str) -> str:
    """The whole key of a planned cell."""
    from simclr_lab.cli.request import Request, check
    from simclr_lab.data.sources import dataset_digest
    from simclr_lab.identity import cell_key

    checked = check(Request(path, "demo", tuple(TINY)))
    keys = [
        cell_key(arm.recipe, 0, dataset_digest("cifar10"))
        for arm in checked.study.arms(checked.base, "demo")
    ]
    return next(key for key in keys if key.startswith(start_of_key))
