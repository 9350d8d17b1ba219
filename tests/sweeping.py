"""A pretended machine for sweeps: ledger, leases and results without a cluster."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simclr_lab.cell import CellRecord, EpochReport, Outcome, State, StudyCell
from simclr_lab.identity import cell_key, evaluation_key
from simclr_lab.recipes import named_recipe
from simclr_lab.spaces.domain import Choice, Range
from simclr_lab.training.events import CellEnded, CellEpoch, CellStopped
from simclr_lab.tuning.optuna_source import OptunaSource
from simclr_lab.tuning.optuna_study import open_study
from simclr_lab.tuning.plan import PlannedCell, Replicate, plan_cell
from simclr_lab.tuning.samplers import make_pruner
from simclr_lab.tuning.source import Exhausted, Surroundings

DIGEST = "d" * 64
METRIC = "linear/val_top1"
CHEAP = "ridge/val_top1"
BASE = named_recipe("demo")


@dataclass
class World:
    """The ledger and the leases of a pretended machine."""

    records: dict[str, CellRecord] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    places: list[StudyCell] = field(default_factory=list)
    ledger_there: bool = True

    def surroundings(self) -> Surroundings:
        return Surroundings(
            lease=lambda key: FakeLease(key, self.held),
            known=lambda keys: {k: self.records[k] for k in keys if k in self.records},
            may_start=lambda: self.ledger_there,
            reused=lambda cell, record: self.told.append(cell.key),
            proposed=self.places.append,
        )

    def finish(self, cell: PlannedCell, value: float, outcome: Outcome = Outcome.OK) -> CellEnded:
        """Record a cell as finished."""
        evaluations = {p: evaluation_key(cell.recipe, p) for p in ("ridge", "linear")}
        metrics = {} if outcome is Outcome.DIVERGED else {METRIC: value}
        self.records[cell.key] = CellRecord(
            key=cell.key,
            seed=cell.seed,
            state=State.FINISHED,
            recipe={},
            scale="demo",
            data_digest=DIGEST,
            method_version=1,
            outcome=outcome,
            metrics=metrics,
            evaluations=evaluations,
        )
        return CellEnded(cell.key, outcome, evaluations, metrics)

    def leave(self, cell: PlannedCell, state: State) -> CellStopped:
        """Record a cell as stopped."""
        self.records[cell.key] = CellRecord(
            cell.key, cell.seed, state, {}, "demo", DIGEST, method_version=1
        )
        return CellStopped(cell.key, state)


@dataclass
class FakeLease:
    key: str
    held: set[str]

    def acquire(self) -> bool:
        if self.key in self.held:
            return False
        self.held.add(self.key)
        return True

    def release(self) -> None:
        self.held.remove(self.key)


DOMAINS = {
    "loss.temperature": Range(0.05, 1.0, "log"),
    "projection.depth": Range(0, 3, "linear", integer=True),
    "batch_size": Choice((64, 128)),
}


def sweep(
    world: World,
    storage: Path | str,
    trials: int = 8,
    domains=DOMAINS,
    sampler: str = "tpe",
    pruning: tuple[str, dict[str, Any]] | None = None,
    **given: Any,
) -> OptunaSource:
    base = given.pop("base", BASE)
    name, options = pruning or (None, {})
    pruner = make_pruner(name, options, epochs=base.epochs)

    def key(replicate: Replicate) -> str:
        return cell_key(replicate.recipe, replicate.seed, DIGEST)

    return OptunaSource(
        study=open_study(storage, "main@demo", given.get("objectives"), pruner),
        domains=domains,
        base=base,
        seed=0,
        trials=trials,
        metric=METRIC,
        chance=10.0,
        sampler=sampler,
        sampler_seed=0,
        key=key,
        plan=lambda r: plan_cell(r, world.surroundings().known([key(r)]), data_digest=DIGEST),
        outside=world.surroundings(),
        cheap_metric=CHEAP if pruning else None,
        **given,
    )


def accuracy(cell: PlannedCell) -> float:
    return 50 - 20 * abs(cell.recipe.loss.temperature - 0.2) + cell.recipe.projection.depth


def drain(source: OptunaSource, world: World, score: Callable = accuracy) -> list[PlannedCell]:
    """Run everything that the source hands out, one after another."""
    handed = []
    while isinstance(cell := source.next_cell(), PlannedCell):
        handed.append(cell)
        source.ended(cell, world.finish(cell, score(cell)))
    assert isinstance(cell, Exhausted)
    return handed


def epoch(cell: PlannedCell, number: int, value: float) -> CellEpoch:
    """The event of an epoch with a cheap accuracy."""
    return CellEpoch(cell.key, EpochReport(number, 10 * number, number, {CHEAP: value}))


def train(source: OptunaSource, world: World, cell: PlannedCell, score: float) -> int:
    """Run one cell epoch by epoch until its end or until it is pruned; epochs trained."""
    for number in range(1, cell.recipe.epochs + 1):
        if source.reported(cell, epoch(cell, number, score * number / cell.recipe.epochs)):
            source.ended(cell, world.leave(cell, State.PRUNED))
            return number
    source.ended(cell, world.finish(cell, score))
    return cell.recipe.epochs
