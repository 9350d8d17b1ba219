"""What a running cell tells its driver: plain data, in this order: started, epochs, end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from numpy.typing import NDArray

from simclr_lab.cell import EpochReport, Outcome, State


class FailureKind(StrEnum):
    """Why a cell could not go on."""

    ERROR = "error"  # an exception: the same again would raise it again
    OUT_OF_MEMORY = "out_of_memory"
    LOST_PROCESS = "lost_process"
    LOST_NODE = "lost_node"


@dataclass(frozen=True)
class CellStarted:
    """The cell is open; ``history`` is what its file already holds, told again with its stamps.

    ``finished`` is whether the encoder is, so that only evaluations are left.
    """

    key: str
    attempt: int
    world_size: int
    threads: int
    history: tuple[EpochReport, ...]
    finished: bool = False


@dataclass(frozen=True)
class CellEpoch:
    """One more epoch, or the final evaluations, done and safe in the cell's file."""

    key: str
    report: EpochReport


@dataclass(frozen=True)
class CellEnded:
    """The encoder is finished and evaluated.

    ``evaluations`` maps protocol -> key of its settings; ``metrics`` holds the latest value of
    every metric of the cell; ``arrays`` what figures and tests need of its evaluations
    (``linear/test_predictions``); ``encoder_sha256`` is ``checkpoint.state_digest`` of the encoder.
    """

    key: str
    outcome: Outcome
    evaluations: Mapping[str, str]
    metrics: Mapping[str, float]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict, compare=False)
    encoder_sha256: str | None = None


@dataclass(frozen=True)
class CellFailed:
    """The cell could not go on, for a reason that is no property of its recipe's result.

    ``kind`` is one of error, out_of_memory, lost_process, lost_node; ``log`` holds the last lines
    that the cell or its process left.
    """

    key: str
    reason: str
    kind: FailureKind = FailureKind.ERROR
    log: str = ""


@dataclass(frozen=True)
class CellStopped:
    """The cell was told to leave; its checkpoint holds all that was told.

    ``state`` is ``pruned`` where a search wants no more of it, ``unfinished`` where a budget ended.
    """

    key: str
    state: State


CellEvent = CellStarted | CellEpoch | CellEnded | CellFailed | CellStopped
EndEvent = CellEnded | CellFailed | CellStopped
