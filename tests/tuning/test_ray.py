"""Cells on a real Ray on this machine: reuse, leaks, two workers, lost processes, interrupts.

Each wait has a deadline; every command runs in a process of its own, as a user's would.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from simclr_lab.cell import State
from simclr_lab.tracking import schema
from simclr_lab.tracking.ledger import Ledger

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 240
TINY = [
    "epochs=2",
    "data.pretrain_images=640",
    "batch_size=64",
    "evaluation.fit_images=500",
    "encoder.channels=8",
]
STUDY = """
metric = "linear/test_top1"
seeds = [0, 1]
references = {references}
[[grid]]
loss.temperature = {temperatures}
"""
LONG = [*TINY[1:], "epochs=8"]
"""For tests that must meet a cell while it runs."""

Start = Callable[[list[str], Path], "subprocess.Popen[str]"]

SWEEP = """
metric = "linear/val_top1"
trials = 3
[space]
loss.temperature = { min = 0.05, max = 1.0, scale = "log" }
projection.depth = { min = 0, max = 2 }
"""


def study(
    folder: Path, name: str = "tiny", temperatures: str = "[0.1, 0.5]", refs: str = "false"
) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(STUDY.format(references=refs, temperatures=temperatures))
    return path


def command(path: Path, *options: str, tiny: list[str] = TINY) -> list[str]:
    settings = [part for field in tiny for part in ("--set", field)]
    return [
        sys.executable,
        "-m",
        "simclr_lab",
        "run",
        str(path),
        "--scale",
        "demo",
        *settings,
        *options,
    ]


def run(arguments: list[str], home: Path) -> tuple[int, str]:
    """Exit code and output of a command that must end within the deadline."""
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=environment(home),
        cwd=ROOT,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"SIMCLR_LAB_HOME": str(home)}


def metrics(home: Path) -> dict[str, dict[str, object]]:
    """Key -> everything that must repeat bit for bit."""
    ledger = Ledger(f"sqlite:///{home / 'mlflow.db'}")
    return {
        key: {n: v for n, v in r.metrics.items() if not n.startswith(schema.COST_PREFIX)}
        for key, r in ledger.cells().items()
    }


def no_duplicate_rows(home: Path) -> None:
    """One run per key, and one row per metric and step."""
    ledger = Ledger(f"sqlite:///{home / 'mlflow.db'}")
    text = f"tags.`{schema.TAG_KIND}` = '{schema.KIND_CELL}'"
    experiments = [e.experiment_id for e in ledger.client.search_experiments()]
    runs = ledger.client.search_runs(experiments, text)
    keys = [r.data.tags[schema.TAG_KEY] for r in runs]
    assert len(keys) == len(set(keys))
    assert {r.info.status for r in runs} == {"FINISHED"}
    for key in keys:
        history: pd.DataFrame = ledger.history(key)
        assert not history.duplicated(["metric", "step"]).any(), key


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """(home, study file, output) of an ablation that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    path = study(folder, refs="true")
    code, output = run(command(path), folder / "home")
    assert code == 0, output
    return folder / "home", path, output


def test_an_ablation_runs_to_its_end(undisturbed) -> None:
    home, _, output = undisturbed
    assert "7 done, 0 running, 0 failed, 0 reused" in output  # 2 arms x 2 seeds, 2 random, pixels
    frame = Ledger(f"sqlite:///{home / 'mlflow.db'}").runs(
        "tiny", "+".join(["demo", *sorted(TINY)])
    )
    assert len(frame) == 7
    assert set(frame["state"]) == {"finished"}
    assert frame["linear/test_top1"].between(10, 60).all()
    no_duplicate_rows(home)
    assert not list((home / "storage" / "scratch").iterdir())


def test_the_same_command_again_reuses_everything(undisturbed) -> None:
    home, path, _ = undisturbed
    before = metrics(home)
    code, output = run(command(path), home)
    assert code == 0
    assert "0 done, 0 running, 0 failed, 7 reused" in output
    assert metrics(home) == before


def test_another_study_reuses_the_cells_they_share(undisturbed, tmp_path: Path) -> None:
    home, _, _ = undisturbed
    other = study(tmp_path, "other", "[0.5]")
    code, output = run(command(other, "--dry-run"), home)
    assert code == 0
    assert "2 to reuse" in output


def test_processes_that_are_used_again_leak_nothing(undisturbed, tmp_path: Path) -> None:
    """Every cell alone, first in a fresh process, equals the same cell late in a used one."""
    home, _, _ = undisturbed
    code, output = run(
        command(study(tmp_path, "alone", "[0.5]"), "--seeds", "1"), tmp_path / "home"
    )
    assert code == 0, output
    ((key, alone),) = metrics(tmp_path / "home").items()
    assert metrics(home)[key] == alone
    cells = Ledger(f"sqlite:///{home / 'mlflow.db'}").cells().values()
    assert {cell.threads for cell in cells} == {1}


def test_a_sweep_runs_its_trials(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP)
    code, output = run(command(path), tmp_path / "home")
    assert code == 0, output
    assert "3 done, 0 running, 0 failed, 0 reused" in output
    code, output = run(command(path), tmp_path / "home")
    assert code == 0
    assert "0 done, 0 running, 0 failed, 3 reused" in output


def test_a_cell_on_two_workers_equals_it_on_one(tmp_path: Path) -> None:
    path = study(tmp_path, temperatures="[0.1]")
    exact = [*TINY, "compute.precision=float64", "compute.channels_last=false"]
    found = []
    for workers in (1, 2):
        home = tmp_path / f"home{workers}"
        options = ["--seeds", "0", "--workers", str(workers)]
        code, output = run(command(path, *options, tiny=exact), home)
        assert code == 0, output
        (cell,) = Ledger(f"sqlite:///{home / 'mlflow.db'}").cells().values()
        assert cell.world_size == workers
        found.append(cell)
    assert found[0].key == found[1].key
    for name in ("train/loss", "train/contrastive_entropy", "linear/val_top1"):
        assert found[0].metrics[name] == pytest.approx(found[1].metrics[name], rel=1e-6)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts commands; whatever a test leaves running ends with it."""
    started: list[subprocess.Popen[str]] = []

    def one(arguments: list[str], home: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(home),
            cwd=ROOT,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield one
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Lines up to one that holds the text; the deadline is the test's own."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError("".join(lines))


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=DEADLINE)
    return output


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
        if "Trainable" in " ".join(child.cmdline())
    ]
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
