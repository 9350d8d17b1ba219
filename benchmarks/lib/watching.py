"""A command of a user in a process of its own, and what it has spent whenever it says a line."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
_EVENT = re.compile(r"\[\d+/\d+\] (?P<what>\w+) +(?P<key>[0-9a-f]{20})")
_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Moment:
    """A line, when it was said (seconds since the start), and what the driver had spent by then.

    ``cpu`` are seconds of the process and its threads, without its children. ``what`` and ``key``
    are empty where the line tells of no cell.
    """

    text: str
    wall: float
    cpu: float
    what: str = ""
    key: str = ""


@dataclass(frozen=True)
class Watched:
    """A command that came to its end; memory in bytes, seconds since its start.

    ``cpu`` are the driver's processor seconds. ``spent`` maps who to theirs: driver, cells, Ray.
    """

    moments: tuple[Moment, ...]
    wall: float
    cpu: float
    peak_memory: int
    spent: dict[str, float]

    def events(self, what: str) -> list[Moment]:
        """Lines that tell of a cell what happened to it: started, finished, ..."""
        return [moment for moment in self.moments if moment.what == what]


def simclr_lab(*arguments: str) -> list[str]:
    """The command as a user types it."""
    return [sys.executable, "-m", "simclr_lab", *arguments]


def watch(command: Sequence[str], home: Path) -> Watched:
    """Run a command with its own home to its end. Raises RuntimeError unless it exits with 0."""
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {"SIMCLR_LAB_HOME": str(home)},
    )
    meter, moments = _Meter(process.pid), []
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            event = _EVENT.match(line)
            told = event.groupdict() if event else {}
            moments.append(Moment(line.rstrip(), time.monotonic() - began, meter.cpu(), **told))
    code = process.wait()
    wall = time.monotonic() - began
    meter.stop()
    if code:
        said = "\n".join(moment.text for moment in moments[-20:])
        raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{said}")
    return Watched(tuple(moments), wall, meter.driver, meter.peak, meter.spent())


class _Meter:
    """Reads a process and its children again and again: what has ended cannot be asked."""

    def __init__(self, pid: int) -> None:
        self._process, self._status = psutil.Process(pid), Path(f"/proc/{pid}/status")
        self._children: dict[int, float] = {}
        self._cells: set[int] = set()
        self.driver = 0.0
        self.peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read_all, daemon=True)
        self._thread.start()

    def cpu(self) -> float:
        """The driver's processor seconds until now; the last known where it is gone."""
        with suppress(psutil.Error):
            self.driver = max(self.driver, _seconds(self._process))
        return self.driver

    def spent(self) -> dict[str, float]:
        """Processor seconds of the driver, of the cells' processes, and of Ray's own."""
        who = {"driver": self.driver, "cells": 0.0, "Ray": 0.0}
        for pid, seconds in self._children.items():
            who["cells" if pid in self._cells else "Ray"] += seconds
        return who

    def stop(self) -> None:
        """The process has ended."""
        self._over.set()
        self._thread.join()

    def _read_all(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            self.cpu()
            try:
                found = re.search(r"VmHWM:\s+(\d+) kB", self._status.read_text())
                self.peak = max(self.peak, 1024 * int(found[1]) if found else 0)
                for child in self._process.children(recursive=True):
                    self._read_child(child)
            except (OSError, psutil.Error):
                continue

    def _read_child(self, child: psutil.Process) -> None:
        with suppress(psutil.Error):
            self._children[child.pid] = _seconds(child)
            if child.pid not in self._cells and "CellTrial" in " ".join(child.cmdline()):
                self._cells.add(child.pid)


def _seconds(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)
