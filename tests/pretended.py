"""A pretended machine for tests of sources: a ledger, leases, and cells that end when told."""

from dataclasses import dataclass, field

from simclr_lab.cell import CellRecord, Outcome, State, StudyCell
from simclr_lab.identity import METHOD_VERSION, cell_key, evaluation_key
from simclr_lab.training.events import CellEnded
from simclr_lab.tuning.plan import PlannedCell, Replicate, plan_cells
from simclr_lab.tuning.source import Surroundings

DIGEST = "d" * 64


def key(replicate: Replicate) -> str:
    return cell_key(replicate.recipe, replicate.seed, DIGEST)


def plan(replicates, known) -> list[PlannedCell]:
    return plan_cells(replicates, known, data_digest=DIGEST)


def finished(cell: PlannedCell, metrics: dict, outcome: Outcome = Outcome.OK) -> CellRecord:
    """The record of a cell that came to its end."""
    protocols = cell.recipe.evaluation.protocols
    return CellRecord(
        key=cell.key,
        seed=cell.seed,
        state=State.FINISHED,
        recipe=cell.recipe.flat(),
        scale="demo",
        data_digest=DIGEST,
        method_version=METHOD_VERSION,
        outcome=outcome,
        metrics={} if outcome is Outcome.DIVERGED else metrics,
        evaluations={name: evaluation_key(cell.recipe, name) for name in protocols},
    )


@dataclass
class Machine:
    """What a source may ask for; ``places`` and ``reused`` are what it told."""

    records: dict[str, CellRecord] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    places: dict[str, StudyCell] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)

    def surroundings(self) -> Surroundings:
        return Surroundings(
            lease=lambda name: Held(name, self.held),
            known=lambda keys: {k: self.records[k] for k in keys if k in self.records},
            reused=lambda cell, record: self.reused.append(cell.key),
            proposed=lambda place: self.places.__setitem__(place.key, place),
        )

    def finish(self, cell: PlannedCell, metrics: dict, outcome: Outcome = Outcome.OK) -> CellEnded:
        """Record a cell as finished."""
        record = finished(cell, metrics, outcome)
        self.records[cell.key] = record
        return CellEnded(cell.key, outcome, record.evaluations, record.metrics)

    def die(self) -> None:
        """The process is gone, and its leases with it."""
        self.held.clear()


@dataclass
class Held:
    key: str
    held: set[str]

    def acquire(self) -> bool:
        if self.key in self.held:
            return False
        self.held.add(self.key)
        return True

    def release(self) -> None:
        self.held.remove(self.key)
