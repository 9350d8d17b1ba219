"""What the driver of a study says to the ledger. No call blocks; what is said twice counts once."""

from dataclasses import dataclass, field
from typing import Protocol

from simclr_lab.cell import CellRecord, EpochReport, StudyRecord
from simclr_lab.tracking.arrays import Arrays


class Tracker(Protocol):
    """Takes records and writes them in its own time."""

    def open_study(self, study: StudyRecord) -> None:
        """Find or create the study's parent run and add the cells to its list."""
        ...

    def start(self, record: CellRecord) -> None:
        """Find or create the run of the record's key."""
        ...

    def report(self, key: str, report: EpochReport) -> None:
        """Metrics of one epoch of a started cell."""
        ...

    def keep(self, key: str, arrays: Arrays) -> None:
        """Arrays behind the evaluations of a started cell."""
        ...

    def finish(self, record: CellRecord) -> None:
        """How a started cell stands now: state, outcome, reason, evaluations."""
        ...

    def available(self) -> bool:
        """Whether the ledger takes what it is told; no new cell starts while it does not."""
        ...

    def pending(self) -> int:
        """Messages not yet written."""
        ...

    def close(self, timeout: float) -> bool:
        """Write what is pending, for up to ``timeout`` seconds; whether all of it was written."""
        ...


@dataclass
class MemoryTracker:
    """Keeps what it is told, for tests and for runs without a ledger."""

    studies: list[StudyRecord] = field(default_factory=list)
    started: list[CellRecord] = field(default_factory=list)
    reports: dict[str, list[EpochReport]] = field(default_factory=dict)
    finished: list[CellRecord] = field(default_factory=list)
    arrays: dict[str, Arrays] = field(default_factory=dict)

    def open_study(self, study: StudyRecord) -> None:
        """Keep the study."""
        self.studies.append(study)

    def start(self, record: CellRecord) -> None:
        """Keep the record."""
        self.started.append(record)

    def report(self, key: str, report: EpochReport) -> None:
        """Keep the report once."""
        reports = self.reports.setdefault(key, [])
        if report not in reports:
            reports.append(report)

    def keep(self, key: str, arrays: Arrays) -> None:
        """Keep the arrays."""
        self.arrays[key] = arrays

    def finish(self, record: CellRecord) -> None:
        """Keep the record."""
        self.finished.append(record)

    def available(self) -> bool:
        """Memory is always there."""
        return True

    def pending(self) -> int:
        """Nothing waits."""
        return 0

    def close(self, timeout: float) -> bool:
        """Nothing to write."""
        return True
