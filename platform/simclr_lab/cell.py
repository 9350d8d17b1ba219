"""What is known of a cell: plain data shared by plan, training, tracking and analysis."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

IMPORTED_FROM = "imported_from"
"""Tag of a record that came out of a snapshot, naming it."""


class State(StrEnum):
    """Where a cell stands. A cell without a record is ``missing``."""

    MISSING = "missing"
    RUNNING = "running"
    UNFINISHED = "unfinished"
    PRUNED = "pruned"
    FAILED = "failed"
    FINISHED = "finished"


class Outcome(StrEnum):
    """How a finished cell came out; a result in every case, never a reason to run it again."""

    OK = "ok"
    COLLAPSED = "collapsed"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class EpochReport:
    """Metrics of one epoch, stamped once: a replay after a crash repeats the same stamp.

    ``step`` counts optimizer steps; ``timestamp_ms`` is Unix time in milliseconds.
    """

    epoch: int
    step: int
    timestamp_ms: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class CellRecord:
    """One cell as the ledger knows it.

    ``evaluations`` maps a protocol's name to the key of its settings; ``recipe`` and ``metrics``
    map dotted names to values; ``tags`` hold provenance (versions, hardware, commit, ...).
    ``last_attempt`` is the highest attempt of the key that was ever recorded; ``reopened`` is a
    later attempt that is not finished yet, beside this one, which counts until it is.
    """

    key: str
    seed: int
    state: State
    recipe: Mapping[str, Any]
    scale: str
    data_digest: str
    method_version: int
    outcome: Outcome | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    evaluations: Mapping[str, str] = field(default_factory=dict)
    world_size: int | None = None
    threads: int | None = None
    attempt: int = 0
    reason: str | None = None
    reason_kind: str | None = None
    failure: str = ""  # last lines of a failed cell's log; the ledger keeps them in a file
    encoder_sha256: str | None = None
    replay_of: str | None = None  # the run that this one repeats; the ledger does not read it
    tags: Mapping[str, str] = field(default_factory=dict)
    run_id: str | None = None
    last_attempt: int = 0
    reopened: "CellRecord | None" = None

    @property
    def elsewhere(self) -> bool:
        """Whether the record was imported: its files are in another store."""
        return IMPORTED_FROM in self.tags


@dataclass(frozen=True)
class StudyCell:
    """A cell's place in a study: which arm, which seed, and whether it is a result of the arm.

    The role is "reported", or "tuning" for a trial that chose an arm's nuisance fields.
    """

    key: str
    arm: str
    seed: int
    role: str = "reported"


@dataclass(frozen=True)
class StudyRecord:
    """A study laid over a scale, as its parent run records it."""

    study: str
    scale: str
    kind: str  # "ablation" or "sweep"
    metric: str
    cells: tuple[StudyCell, ...] = ()
    definition: str = ""  # the study file's text
    launches: Mapping[str, str] = field(default_factory=dict)  # UTC time -> what was launched
