"""The writer of the ledger: one thread on the driver, a queue, patience without limit."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mlflow.exceptions import MlflowException

from simclr_lab.cell import CellRecord, EpochReport, StudyRecord
from simclr_lab.tracking.arrays import Arrays
from simclr_lab.tracking.mlflow_runs import MlflowRuns, launch_tag

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 10.0
_PERMANENT = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST"}


@dataclass(frozen=True)
class WriteError:
    """A message that the ledger refuses however often it is sent."""

    what: str
    error: str


class MlflowTracker:
    """Queues messages and writes them in order; while the ledger is away they wait.

    A message that the ledger refuses for what it says is put on ``errors`` and skipped; anything
    else is tried again until it goes through.
    """

    def __init__(self, tracking_uri: str, runs: MlflowRuns | None = None, diff: str = "") -> None:
        self.runs = runs or MlflowRuns(tracking_uri, diff)
        self.errors: list[WriteError] = []
        self._launch = launch_tag()
        self._queue: queue.Queue[tuple[str, Callable[[], object]] | None] = queue.Queue()
        self._away = threading.Event()
        self._stopping = threading.Event()
        self._writing = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="ledger", daemon=True)
        self._thread.start()

    def open_study(self, study: StudyRecord) -> None:
        """Find or create the study's parent run and add the cells to its list."""
        self._put(f"study {study.study}", lambda: self.runs.open_study(study, self._launch))

    def start(self, record: CellRecord) -> None:
        """Find or create the run of the record's key."""
        self._put(f"start {record.key}", lambda: self.runs.start(record))

    def report(self, key: str, report: EpochReport) -> None:
        """Metrics of one epoch of a started cell."""
        self._put(f"report {key}", lambda: self.runs.report(key, [report]))

    def keep(self, key: str, arrays: Arrays) -> None:
        """Arrays behind the evaluations of a started cell."""
        self._put(f"arrays {key}", lambda: self.runs.keep(key, arrays))

    def finish(self, record: CellRecord) -> None:
        """How a started cell stands now."""
        self._put(f"finish {record.key}", lambda: self.runs.finish(record))

    def available(self) -> bool:
        """Whether the last message went through at once."""
        return not self._away.is_set()

    def pending(self) -> int:
        """Messages not yet written."""
        return self._queue.qsize() + int(self._writing.is_set())

    def close(self, timeout: float) -> bool:
        """Write what is pending, for up to ``timeout`` seconds; whether all of it was written."""
        self._queue.put(None)
        self._thread.join(timeout)
        written = not self._thread.is_alive()
        self._stopping.set()
        return written

    def _put(self, what: str, write: Callable[[], object]) -> None:
        self._queue.put((what, write))

    def _write_all(self) -> None:
        while (message := self._queue.get()) is not None:
            self._writing.set()
            self._write_until_done(*message)
            self._writing.clear()

    def _write_until_done(self, what: str, write: Callable[[], object]) -> None:
        wait = FIRST_WAIT_SECONDS
        while not self._stopping.is_set():
            try:
                write()
            except Exception as error:
                if is_permanent(error):
                    self.errors.append(WriteError(what, str(error)))
                    break
                self._away.set()
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)
            else:
                break
        self._away.clear()


def is_permanent(error: Exception) -> bool:
    """Whether sending the same again cannot help."""
    if isinstance(error, MlflowException):
        return error.error_code in _PERMANENT
    return isinstance(error, TypeError | KeyError | AttributeError | AssertionError)
