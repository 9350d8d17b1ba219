"""A second attempt of a tiny cell on a real Ray: forced, interrupted, continued, replayed."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from simclr_lab.cell import CellRecord, State
from simclr_lab.tracking import schema
from simclr_lab.tracking.ledger import Ledger

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 240
TINY = [
    "epochs=4",
    "data.pretrain_images=640",
    "batch_size=64",
    "evaluation.fit_images=500",
    "encoder.channels=8",
]
PRETRAIN = ["pretrain", "--scale", "demo", *(part for field in TINY for part in ("--set", field))]


def start(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "simclr_lab", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"SIMCLR_LAB_HOME": str(home)},
        cwd=ROOT,
    )


def run(home: Path, *arguments: str, code: int = 0) -> str:
    process = start(home, *arguments)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == code, output
    return output


def ledger(home: Path) -> Ledger:
    return Ledger(f"sqlite:///{home / 'mlflow.db'}")


def only_cell(home: Path) -> CellRecord:
    (cell,) = ledger(home).cells().values()
    return cell


def repeats(cell: CellRecord) -> dict[str, float]:
    """What must come out the same in every attempt."""
    return {n: v for n, v in cell.metrics.items() if not n.startswith(schema.COST_PREFIX)}


def test_a_second_attempt_from_force_to_replay(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SIMCLR_LAB_HOME", str(tmp_path))
    run(tmp_path, *PRETRAIN)
    first = only_cell(tmp_path)
    assert (first.attempt, len(first.encoder_sha256 or "")) == (0, 64)

    process = start(tmp_path, *PRETRAIN, "--force")
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if "reported" in line:
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 3, "".join(lines) + output
    between = only_cell(tmp_path)
    assert (between.run_id, between.state) == (first.run_id, State.FINISHED)
    assert between.reopened is not None
    assert (between.reopened.attempt, between.reopened.state) == (1, State.UNFINISHED)

    assert "1 to continue" in run(tmp_path, *PRETRAIN)
    second = only_cell(tmp_path)
    assert (second.attempt, second.state, second.reopened) == (1, State.FINISHED, None)
    assert second.encoder_sha256 == first.encoder_sha256
    assert repeats(second) == repeats(first)
    old = ledger(tmp_path).client.get_run(first.run_id)
    assert old.data.tags[schema.TAG_SUPERSEDED_BY] == second.run_id
    assert "1 to reuse" in run(tmp_path, *PRETRAIN, "--dry-run")

    output = run(tmp_path, "replay", second.key[:8])
    assert f"identical: {second.key}" in output
    assert replace(only_cell(tmp_path), last_attempt=1) == second
    (replay,) = ledger(tmp_path).replays(second.key)
    assert (replay.attempt, replay.replay_of) == (2, second.run_id)
    verdict = ledger(tmp_path).client.get_run(replay.run_id).data.tags[schema.TAG_VERDICT]
    assert verdict == "identical"
    assert [study.study for study in ledger(tmp_path).studies()] == ["pretrain"]

    run(tmp_path, "clean", "--older-than", "0")
    folder = tmp_path / "storage" / "cells" / second.key
    assert [path.name for path in folder.iterdir()] == ["1"]
    assert [path.name for path in (folder / "1").iterdir()] == ["final.pt"]
