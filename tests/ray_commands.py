"""Commands as a user types them, each in a process of its own, and what the ledger says after."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from simclr_lab.cell import CellRecord
from simclr_lab.tracking import schema
from simclr_lab.tracking.ledger import Ledger

ROOT = Path(__file__).resolve().parents[1]
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
        *(() if "--probe" in options else ("--no-probe",)),
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


def cells(home: Path) -> dict[str, CellRecord]:
    """Key -> record of everything in a home's ledger."""
    return Ledger(f"sqlite:///{home / 'mlflow.db'}").cells()
