"""One cell as ``status`` shows it: words and numbers, from its record and its place in a study."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from simclr_lab.cell import CellRecord, Outcome, State, StudyCell
from simclr_lab.tracking.lease import Lease
from simclr_lab.tracking.ledger import Ledger

SHORT = 48
"""Characters of a reason in the grid; the list below it has the whole."""


@dataclass(frozen=True)
class CellView:
    """A study's cell; ``value`` is the study's metric, seconds are judged by the last epoch."""

    key: str
    arm: str
    seed: int
    state: str = State.MISSING.value
    outcome: str | None = None
    value: float | None = None
    epochs_done: int = 0
    epochs: int = 0
    reason: str | None = None
    reason_kind: str | None = None
    attempt: int = 0
    reopened: str | None = None
    run_id: str | None = None
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    next: str | None = None

    def words(self) -> str:
        """The cell of the grid."""
        progress = f"{self.state} {self.epochs_done}/{self.epochs} epochs"
        match self.state:
            case State.FINISHED:
                word = "finished" if self.outcome == Outcome.OK else str(self.outcome)
                text = word if self.value is None else f"{word} {self.value:.1f}"
            case State.RUNNING | State.UNFINISHED | State.PRUNED:
                text = progress
            case State.FAILED:
                reason = (self.reason or self.reason_kind or "no reason").splitlines()[0]
                text = f"failed: {reason[:SHORT]}"
            case _:
                text = "missing"
        if self.next == "evaluate only":
            text += ", lacks an evaluation"
        return f"{text}; new attempt {self.reopened}" if self.reopened else text


def view_cell(ledger: Ledger, place: StudyCell, record: CellRecord | None, metric: str) -> CellView:
    """The cell at ``place``, of which ``record`` is known."""
    view = CellView(place.key, place.arm, place.seed)
    if record is None:
        return view
    epochs = int(record.recipe.get("epochs", 0))
    done = epochs if record.state is State.FINISHED else ledger.epochs_done(record)
    metrics, workers = record.metrics, record.world_size or 1

    def seconds(name: str) -> float:
        pretraining = metrics.get(f"cost/pretraining{name}", 0.0) * done
        return pretraining + metrics.get(f"cost/evaluation{name}", 0.0)

    return replace(
        view,
        state=record.state.value,
        outcome=record.outcome.value if record.outcome else None,
        value=metrics.get(metric) if record.state is State.FINISHED else None,
        epochs_done=done,
        epochs=epochs,
        reason=record.reason if record.state is State.FAILED else None,
        reason_kind=record.reason_kind if record.state is State.FAILED else None,
        attempt=record.attempt,
        reopened=record.reopened.state.value if record.reopened else None,
        run_id=record.run_id,
        wall_seconds=seconds("_seconds"),
        cpu_seconds=seconds("_cpu_seconds") * workers,
    )


def as_it_is(known: Mapping[str, CellRecord]) -> dict[str, CellRecord]:
    """The records, unfinished where they say running and nobody holds the lease."""
    return {key: _as_it_is(record) for key, record in known.items()}


def _as_it_is(record: CellRecord) -> CellRecord:
    later = record.reopened
    if State.RUNNING not in (record.state, later and later.state):
        return record
    lease = Lease(f"cell-{record.key}")
    if not lease.acquire():
        return record
    lease.release()
    if record.state is State.RUNNING:
        record = replace(record, state=State.UNFINISHED)
    if later and later.state is State.RUNNING:
        record = replace(record, reopened=replace(later, state=State.UNFINISHED))
    return record
