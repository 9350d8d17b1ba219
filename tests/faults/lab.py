"""A home whose commands join the shared cluster, and what must be true in it after any fault."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil
from faults.cluster import WORKING, TwoNodes
from mlflow.entities import Run
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from ray_commands import ROOT, metrics, no_duplicate_rows

from simclr_lab.tracking import schema
from simclr_lab.tracking.ledger import Ledger

DEADLINE = 180.0
History = dict[str, set[tuple[str, int, str]]]


class Command:
    """A command in a process of its own, its output in a file."""

    def __init__(self, arguments: list[str], lab: "Lab") -> None:
        self.log = lab.folder / f"output-{time.monotonic_ns()}.txt"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                arguments,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=lab.environment(),
                cwd=ROOT,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def output(self) -> str:
        """What it has said so far."""
        return self.log.read_text()

    def wait_for(self, text: str, times: int = 1) -> None:
        """Until the output holds the text so often; raises with the output at the deadline."""
        until = time.monotonic() + DEADLINE
        while self.output().count(text) < times:
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < until, self.output()
            time.sleep(0.05)

    def finish(self, seconds: float = DEADLINE) -> tuple[int, str]:
        """Exit code and output."""
        return self.process.wait(seconds), self.output()

    def kill(self) -> None:
        """SIGKILL, to the driver alone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE)


@dataclass
class Lab:
    """One home on the shared cluster.

    Args:
        cluster: where the cells run.
        folder: for study files, outputs and the home.
        uri: the ledger; default the home's own.
        settings: more of the commands' environment.
    """

    cluster: TwoNodes
    folder: Path
    uri: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    commands: list[Command] = field(init=False, default_factory=list)

    @property
    def home(self) -> Path:
        """Where the records are."""
        return self.folder / "home"

    @property
    def ledger(self) -> Ledger:
        """The ledger's database, whoever serves it."""
        return Ledger(f"sqlite:///{self.home / 'mlflow.db'}")

    def environment(self) -> dict[str, str]:
        """What the commands see."""
        given = {
            "SIMCLR_LAB_HOME": str(self.home),
            "RAY_ADDRESS": self.cluster.address,
            "PYTHONPATH": str(ROOT / "platform"),
            "SIMCLR_LAB_STUCK_MINUTES": "2",
        }
        ledger = {"MLFLOW_TRACKING_URI": self.uri} if self.uri else {}
        return os.environ | given | ledger | self.settings

    def start(self, arguments: list[str]) -> Command:
        """Start a command; it ends with the test at the latest."""
        self.commands.append(Command(arguments, self))
        return self.commands[-1]

    def run(self, arguments: list[str]) -> tuple[int, str]:
        """Exit code and output of a command."""
        return self.start(arguments).finish()

    def until_done(self, arguments: list[str], launches: int = 3) -> str:
        """Run the same command until it says that all is done; its last output."""
        for _ in range(launches):
            code, output = self.run(arguments)
            if code == 0:
                return output
        raise AssertionError(output)

    def switch(self, fault: str) -> Path:
        """Switch on a fault inside the workers (see hooks/sitecustomize.py)."""
        file = self.home / "faults" / fault
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        return file

    def working(self, *names: str) -> list[psutil.Process]:
        """Processes of this cluster that compute or steer a cell."""
        return self.cluster.processes(*(names or WORKING))

    def close(self) -> None:
        """End what still runs."""
        for each in self.commands:
            if each.process.poll() is None:
                each.kill()

    def cell_runs(self) -> list[Run]:
        """Every run of a cell, whatever its state."""
        return list(self.ledger.runs_client.search({schema.TAG_KIND: schema.KIND_CELL}))

    def assert_sound(self, reference: "Lab", *, keys: Iterable[str] | None = None) -> None:
        """Every record once, finished, whole, equal to the undisturbed one; nothing left over."""
        ours, whole = metrics(self.home), metrics(reference.home)
        assert ours
        assert ours == {key: whole[key] for key in (keys or ours)}
        no_duplicate_rows(self.home)
        assert histories(self.ledger, ours) == histories(reference.ledger, ours)
        self.assert_nothing_left()

    def assert_nothing_left(self) -> None:
        """No process, port or reservation of a launch outlives it by more than a minute."""
        gone(self.working)
        gone(self.cluster.reserved)
        gone(lambda: [c.pid for c in self.commands if c.process.poll() is None])
        drivers = {c.pid for c in self.commands}
        listening = psutil.net_connections("tcp")
        assert not {c.laddr.port for c in listening if c.pid in drivers and c.status == "LISTEN"}
        scratch = self.home / "storage" / "scratch"
        assert not list(scratch.glob("*.stop"))


@dataclass(frozen=True)
class Undisturbed:
    """A home in which everything ran once, and how many seconds each study took there."""

    lab: Lab
    seconds: dict[str, float]


def histories(ledger: Ledger, keys: Iterable[str]) -> History:
    """Key -> (metric, step, value) of everything that must repeat, bit for bit."""
    found: History = {}
    for key in keys:
        rows = ledger.history(key)
        found[key] = {
            (row.metric, int(row.step), repr(row.value))
            for row in rows.itertuples()
            if not row.metric.startswith(schema.COST_PREFIX)
        }
    return found


def optuna_trials(home: Path) -> list[optuna.trial.FrozenTrial]:
    """Trials of the home's only sweep."""
    storage = JournalStorage(JournalFileBackend(str(home / "optuna.journal")))
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def gone(look: Callable[[], list[Any]], seconds: float = 60.0) -> None:
    """Wait until nothing is left; Ray ends processes in its own time. Raises at the deadline."""
    until = time.monotonic() + seconds
    while left := look():
        assert time.monotonic() < until, f"left over: {left}"
        time.sleep(0.2)


def some_time(random_numbers: random.Random, longest: float) -> None:
    """Sleep for a random while, so that faults hit at any moment."""
    time.sleep(random_numbers.uniform(0, longest))
