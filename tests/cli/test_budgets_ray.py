"""Budgets, machines and notifications on a real Ray, each command as a user types it."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ray_commands import DEADLINE, LONG, ROOT, cells, command, environment, metrics, run, study

from simclr_lab.cell import State

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(900)]

KEEP = "import sys, os; open(sys.argv[1], 'a').write(os.environ['SIMCLR_LAB_STATUS'] + chr(10))"


def two_streams(arguments: list[str], home: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=environment(home),
        cwd=ROOT,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_launch_starts_no_more_cells_than_it_may(tmp_path: Path) -> None:
    path, home = study(tmp_path), tmp_path / "home"
    code, output = run(command(path, "--max-cells", "1", "--seeds", "0"), home)
    assert code == 3, output
    assert "Stopped: --max-cells 1 is reached" in output
    assert "The same command again continues." in output
    (record,) = cells(home).values()
    assert record.state is State.FINISHED
    code, output = run(command(path, "--max-cells", "1", "--seeds", "0"), home)
    assert code == 0, output  # the last one was within the budget
    assert "1 done, 0 running, 0 failed, 1 reused" in output
    assert len(cells(home)) == 2


def test_spent_hours_leave_checkpoints_and_the_rest_is_bit_identical(tmp_path: Path) -> None:
    path, home = study(tmp_path, temperatures="[0.5]"), tmp_path / "home"
    code, output = run(command(path, "--max-hours", "0.000001", tiny=LONG), home)
    assert code == 3, output
    assert "--max-hours 1e-06 are over" in output
    assert cells(home) == {}  # none was started

    code, output = run(command(path, "--max-worker-hours", "0.0004", tiny=LONG), home)
    assert code == 3, output
    assert "--max-worker-hours 0.0004 are spent" in output
    stopped = cells(home)
    assert {record.state for record in stopped.values()} == {State.UNFINISHED}
    assert any((home / "storage" / "cells").glob("*/0/step-*.pt"))

    kept = tmp_path / "kept"
    notify = shlex.join([sys.executable, "-c", KEEP, str(kept)])
    options = ["--json", "--notify", notify, "--probe"]
    code, out, errors = two_streams(command(path, *options, tiny=LONG), home)
    assert code == 0, errors
    assert kept.read_text() == "done\n"
    lines = [json.loads(line) for line in out.splitlines()]  # and nothing else
    assert lines[0]["event"] == "plan"
    assert lines[0]["counts"]["continue"] == len(stopped)
    assert lines[0]["worker_hours"] > 0
    assert lines[-1]["event"] == "summary"
    assert (lines[-1]["status"], lines[-1]["done"]) == ("done", 2)
    assert sum(line["event"] == "finished" for line in lines) == 2
    log = Path(next(line for line in errors.splitlines() if line.startswith("log: "))[5:])
    assert log.exists()

    code, output = run(command(path, tiny=LONG), tmp_path / "undisturbed")
    assert code == 0, output
    assert metrics(tmp_path / "undisturbed") == metrics(home)
    assert (tmp_path / "undisturbed" / "probes.json").exists() is False  # --no-probe
