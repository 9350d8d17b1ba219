"""Nuisance fields on a real Ray: two arms, two trials each, killed in the middle and continued."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from simclr_lab.tracking import schema
from simclr_lab.tracking.ledger import Ledger

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 300
TINY = [
    "epochs=2",
    "data.pretrain_images=640",
    "evaluation.fit_images=500",
    "encoder.channels=8",
]
SCALE = "+".join(["demo", *sorted(TINY)])
Start = Callable[[Path, Path], "subprocess.Popen[str]"]
STUDY = """
metric = "linear/test_top1"
seeds = [0]
references = false
[[grid]]
batch_size = [32, 64]
[nuisance]
trials = 2
optimizer.learning_rate = { min = 0.02, max = 0.5, scale = "log" }
"""


def command(path: Path) -> list[str]:
    settings = [part for field in TINY for part in ("--set", field)]
    return [sys.executable, "-m", "simclr_lab", "run", str(path), "--scale", "demo", *settings]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the study; whatever the test leaves running ends with it."""
    started: list[subprocess.Popen[str]] = []

    def one(path: Path, home: Path) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            command(path),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"SIMCLR_LAB_HOME": str(home)},
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


def ledger(home: Path) -> Ledger:
    return Ledger(f"sqlite:///{home / 'mlflow.db'}")


def metrics(home: Path) -> dict[str, dict[str, float]]:
    """Key -> everything that must repeat bit for bit."""
    return {
        key: {n: v for n, v in r.metrics.items() if not n.startswith(schema.COST_PREFIX)}
        for key, r in ledger(home).cells().items()
    }


def kill_after(process: "subprocess.Popen[str]", text: str, times: int) -> None:
    """SIGKILL the driver once a line with the text was printed so often; wait for its cells."""
    assert process.stdout is not None
    seen = 0
    for line in process.stdout:
        seen += text in line
        if seen == times:
            break
    assert seen == times
    children = psutil.Process(process.pid).children(recursive=True)
    names = {child.pid: child.name() for child in children}
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=DEADLINE)
    working = [child for child in children if "Agent" not in names[child.pid]]
    _, left = psutil.wait_procs(working, timeout=60)
    assert not left


def test_a_killed_nuisance_ablation_is_continued_to_the_same_results(
    tmp_path: Path, start: Start
) -> None:
    path = tmp_path / "tuned.toml"
    path.write_text(STUDY)
    whole = start(path, tmp_path / "whole")
    output, _ = whole.communicate(timeout=DEADLINE)
    assert whole.returncode == 0, output
    assert "6 done, 0 running, 0 failed, 0 reused" in output
    assert output.count(": chose optimizer.learning_rate=") == 2

    killed = tmp_path / "killed"
    kill_after(start(path, killed), "finished", times=3)
    continued = start(path, killed)
    output, _ = continued.communicate(timeout=DEADLINE)
    assert continued.returncode == 0, output
    assert metrics(killed) == metrics(tmp_path / "whole")
    assert len(metrics(killed)) == 6

    results = ledger(killed).runs("tuned", SCALE)
    assert sorted(results["arm"]) == ["batch_size=32", "batch_size=64"]
    assert set(results["seed"]) == {0}
    trials = ledger(killed).runs("tuned", SCALE, role="tuning")
    for arm, own in trials.groupby("arm"):
        best = own.loc[own["linear/val_top1"].idxmax(), "optimizer.learning_rate"]
        chosen = results.loc[results["arm"] == arm, "optimizer.learning_rate"]
        assert chosen.tolist() == [best]

    again = start(path, killed)
    output, _ = again.communicate(timeout=DEADLINE)
    assert again.returncode == 0
    assert "0 done, 0 running, 0 failed, 6 reused" in output
