"""A long run of random faults against short studies, with a fixed seed.

    python -m faults.soak --faults 100 --seed 0

Each round is a study in a home of its own. While its command runs, random processes are killed;
when the command is gone it is started again, until all is done. Then the round's records are
compared with an undisturbed run's. The last line counts what was injected and what survived; the
exit code is 1 where anything was lost, duplicated, changed or left over.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from faults.cluster import TwoNodes, two_nodes
from faults.lab import Command, Lab, gone
from faults.nearby import MlflowServer
from faults.studies import ALONE, PAIR, ablation
from ray_commands import metrics

FAULTS_A_ROUND = 8
LAUNCHES_A_ROUND = 40


@dataclass(frozen=True)
class Round:
    """What is run in a round, and whether a server stands before its ledger."""

    study: str
    batch: int
    temperatures: tuple[float, ...]
    served: bool = False

    def command(self, folder: Path) -> list[str]:
        """The study's command."""
        return ablation(folder, self.study, self.batch, *self.temperatures)


ROUNDS = [
    Round("alone", ALONE, (0.1, 0.2, 0.5, 1.0)),
    Round("alone", ALONE, (0.1, 0.2, 0.5, 1.0), served=True),
    Round("alone", ALONE, (0.1, 0.2, 0.5, 1.0)),
    Round("pair", PAIR, (0.2, 0.5)),
]
"""Taken in turn."""


@dataclass
class Soak:
    """The state of a soak.

    Args:
        cluster: where the cells run.
        folder: for homes.
        wanted: faults to inject in all.
        numbers: where all randomness comes from.
        minutes: no round begins after this time.
    """

    cluster: TwoNodes
    folder: Path
    wanted: int
    numbers: random.Random
    minutes: float
    injected: Counter[str] = field(default_factory=Counter)
    survived: int = 0
    lost: int = 0
    duplicated: int = 0
    problems: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Rounds until enough faults were injected."""
        reference = Lab(self.cluster, self.folder / "undisturbed")
        reference.folder.mkdir()
        seconds = {}
        for each in (ROUNDS[0], ROUNDS[3]):
            began = time.monotonic()
            code, output = reference.run(each.command(reference.folder))
            assert code == 0, output
            seconds[each.study] = time.monotonic() - began
        number, until = 0, time.monotonic() + 60 * self.minutes
        while self.injected.total() < self.wanted and time.monotonic() < until:
            each = ROUNDS[number % len(ROUNDS)]
            self.round(number, each, reference, seconds[each.study])
            number += 1

    def round(self, number: int, what: Round, reference: Lab, quiet: float) -> None:
        """One study under faults, and the comparison after it."""
        lab = Lab(self.cluster, self.folder / f"round-{number}")
        lab.folder.mkdir()
        before, began = self.injected.total(), time.monotonic()
        server = MlflowServer(lab.home) if what.served else None
        try:
            if server is not None:
                server.start()
                lab.uri = server.uri
            self._disturb(lab, what, server)
            self._compare(lab, reference, len(what.temperatures))
        except (AssertionError, subprocess.TimeoutExpired) as error:
            self.problems.append(f"round {number}: {error}")
            say(f"round {number} FAILED: {error}")
        else:
            self.survived += self.injected.total() - before
        finally:
            lab.close()
            if server is not None:
                server.kill()
        shutil.rmtree(lab.folder, ignore_errors=True)
        took = time.monotonic() - began
        faults = self.injected.total() - before
        say(
            f"round {number}: {what.study}, {faults} faults, {took:.0f} s, {took - quiet:.0f} s of "
            f"them lost; so far {self.injected.total()} injected, {self.survived} survived"
        )

    def summarize(self) -> None:
        """Faults by kind, what went wrong, and the counts."""
        for name, count in sorted(self.injected.items()):
            say(f"{count:4d} {name}")
        for problem in self.problems:
            say(problem)
        say(
            f"faults injected: {self.injected.total()}, survived: {self.survived}, "
            f"lost records: {self.lost}, duplicated: {self.duplicated}"
        )

    def _disturb(self, lab: Lab, what: Round, server: MlflowServer | None) -> None:
        """The same command again and again, under faults, until it says that all is done."""
        arguments = [*what.command(lab.folder), "--retry-failed"]
        left = min(FAULTS_A_ROUND, self.wanted - self.injected.total())
        for _ in range(LAUNCHES_A_ROUND):
            command = lab.start(arguments)
            while left and self._wait(command):
                left -= self._inject(lab, command, server)
            code, output = command.finish()
            if code == 0:
                return
            assert code in (1, -signal.SIGKILL), f"exit {code}: {output}"
        raise AssertionError(f"not done after {LAUNCHES_A_ROUND} launches: {output}")

    def _wait(self, command: Command) -> bool:
        """A random while after the command's first cell has started; whether it still runs."""
        until = time.monotonic() + 120
        while command.process.poll() is None and "started" not in command.output():
            assert time.monotonic() < until, command.output()
            time.sleep(0.05)
        time.sleep(self.numbers.uniform(0.0, 3.0))
        return command.process.poll() is None

    def _inject(self, lab: Lab, command: Command, server: MlflowServer | None) -> bool:
        """One random fault; False where there was nothing to hit."""
        kinds: list[tuple[str, int, Callable[[Lab, Command], bool]]] = [
            ("driver killed", 4, _driver),
            ("driver killed between checkpoint and record", 2, _driver_after_checkpoint),
            ("process of a cell killed", 5, self._one("Trainable")),
            ("every process of every cell killed", 2, _all),
            ("newest checkpoints torn and driver killed", 2, self._tear),
            ("node lost and added again", 1, self._node),
        ]
        if lab.working("RayTrainWorker"):
            kinds.append(("worker of two killed", 8, self._one("RayTrainWorker")))
            kinds.append(("controller of two killed", 2, self._one("TrainController")))
        if server is not None:
            kinds.append(("ledger killed and started again", 4, self._ledger(server)))
        ((name, _, inject),) = self.numbers.choices(kinds, [weight for _, weight, _ in kinds])
        done = inject(lab, command)
        if done:
            self.injected[name] += 1
            say(f"{self.injected.total():4d} {name}")
        return done

    def _one(self, name: str) -> Callable[[Lab, Command], bool]:
        def kill(lab: Lab, command: Command) -> bool:
            found = lab.working(name)
            return bool(found) and _kill(self.numbers.choice(found))

        return kill

    def _ledger(self, server: MlflowServer) -> Callable[[Lab, Command], bool]:
        def away(lab: Lab, command: Command) -> bool:
            server.kill()
            time.sleep(self.numbers.uniform(1.0, 5.0))
            server.start()
            return True

        return away

    def _node(self, lab: Lab, command: Command) -> bool:
        self.cluster.kill_second()
        self.cluster.add_second()
        return True

    def _tear(self, lab: Lab, command: Command) -> bool:
        command.kill()
        gone(lab.working)
        for path in (lab.home / "storage" / "cells").glob("*/0/step-*.pt"):
            content = path.read_bytes()
            path.write_bytes(content[: self.numbers.randrange(len(content))])
        return True

    def _compare(self, lab: Lab, reference: Lab, cells: int) -> None:
        ours, whole = metrics(lab.home), metrics(reference.home)
        records = [record for record in lab.ledger.cells().values() if record.state == "finished"]
        self.lost += cells - len(records)
        self.duplicated += len(lab.cell_runs()) - len(ours)
        assert len(records) == cells, f"{cells - len(records)} records are lost"
        assert ours.keys() <= whole.keys()
        lab.assert_sound(reference)


def _driver(lab: Lab, command: Command) -> bool:
    command.kill()
    return True


def _all(lab: Lab, command: Command) -> bool:
    return sum(_kill(process) for process in lab.working()) > 0


def _driver_after_checkpoint(lab: Lab, command: Command) -> bool:
    """The next checkpoint that is saved kills the driver; False if none was saved any more."""
    switch = lab.switch(f"kill-{command.pid}")
    until = time.monotonic() + 60
    while switch.exists() and command.process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    hit = not switch.exists()
    switch.unlink(missing_ok=True)
    return hit


def _kill(process: psutil.Process) -> bool:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def say(text: str) -> None:
    """A line of the log, at once."""
    print(text, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run a soak; 0 where every fault was survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=120.0, help="no round begins later")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        with two_nodes() as cluster:
            numbers = random.Random(given.seed)
            soak = Soak(cluster, folder, given.faults, numbers, given.minutes)
            try:
                soak.run()
            finally:  # also of a soak that is interrupted
                say(f"seed {given.seed}, {(time.monotonic() - began) / 60:.0f} minutes")
                soak.summarize()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(soak.survived < soak.injected.total() or soak.lost + soak.duplicated > 0)


if __name__ == "__main__":
    sys.exit(main())
