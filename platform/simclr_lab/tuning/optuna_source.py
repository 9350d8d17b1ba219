"""A sweep's cells, proposed by Optuna one at a time; the study file says what is true of each.

The journal outlives every launch. What was being run when a launch died is proposed again first,
so that its cell is continued; nothing is asked twice and no trial stays open for ever.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from simclr_lab.cell import Outcome
from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.domain import Choice, Domain
from simclr_lab.spaces.tree import assignment
from simclr_lab.training.events import CellEnded, EndEvent
from simclr_lab.tuning.plan import Action, PlannedCell, Replicate
from simclr_lab.tuning.samplers import make_sampler
from simclr_lab.tuning.source import Exhausted, Lease, Surroundings, Wait

MAX_DUPLICATES = 20
"""Proposals in a row that are cells of earlier trials, before the space counts as exhausted."""


def distribution(domain: Domain) -> BaseDistribution:
    """Optuna's word for a domain of a study file."""
    if isinstance(domain, Choice):
        return CategoricalDistribution(list(domain.values))
    log = domain.scale == "log"
    if domain.integer:
        return IntDistribution(int(domain.minimum), int(domain.maximum), log=log)
    return FloatDistribution(domain.minimum, domain.maximum, log=log)


def open_study(journal: Path, name: str) -> Study:
    """The sweep's Optuna study in its journal file; made when it is new. Higher is better."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal.parent.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=name,
        direction="maximize",
        load_if_exists=True,
    )


@dataclass
class OptunaSource:
    """Asks Optuna for cells until ``trials`` different ones have an end.

    Args:
        study: the open Optuna study; its lease must be held.
        domains: dotted field -> domain.
        base: the recipe that the proposals are laid over.
        seed: seed of every cell of the sweep.
        trials: different cells wanted in all.
        metric: the searched metric, higher is better.
        chance: its value for a diverged cell.
        sampler: name of the sampler, and ``sampler_seed`` its seed.
        key: the key of a replicate.
        plan: what is to be done about a replicate; asks the ledger.
        outside: leases, ledger and the parent run's list of cells.
    """

    study: Study
    domains: Mapping[str, Domain]
    base: Recipe
    seed: int
    trials: int
    metric: str
    chance: float
    sampler: str
    sampler_seed: int
    key: Callable[[Replicate], str]
    plan: Callable[[Replicate], PlannedCell]
    outside: Surroundings
    sampler_options: Mapping[str, Any] = field(default_factory=dict)
    _keys: dict[int, str] = field(init=False)
    _orphans: list[FrozenTrial] = field(init=False)
    _asking: dict[str, list[int]] = field(init=False, default_factory=dict)
    _leases: dict[str, Lease] = field(init=False, default_factory=dict)
    _leased_elsewhere: list[PlannedCell] = field(init=False, default_factory=list)
    _duplicates_in_a_row: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        trials = self.study.get_trials(deepcopy=False)
        self._orphans = [trial for trial in trials if trial.state is TrialState.RUNNING]
        self._keys = {trial.number: self._key_of(trial.params) for trial in trials}

    @property
    def proposed_cells(self) -> int:
        """Different cells proposed so far, in this launch and before it."""
        return len(set(self._keys.values()))

    def remaining(self) -> int:
        """Cells that may still be handed out."""
        return len(self._orphans) + max(0, self.trials - self.proposed_cells)

    def space_exhausted(self) -> bool:
        """Whether proposals ended because the space has no new cell."""
        return self._duplicates_in_a_row > MAX_DUPLICATES

    def next_cell(self) -> PlannedCell | Wait | Exhausted:
        """The next cell that has to be run; what the ledger answers is told to Optuna at once."""
        if not self.outside.may_start():
            return Wait()
        for cell in list(self._leased_elsewhere):
            if self._take_freed(cell):
                return cell
        while (proposal := self._propose()) is not None:
            resolved = self._resolve(*proposal)
            if resolved is not None and self._take(resolved):
                return resolved
        return Wait() if self._leased_elsewhere else Exhausted()

    def ended(self, cell: PlannedCell, end: EndEvent) -> None:
        """Tell every trial that asked for this cell how it came out."""
        for number in self._asking.pop(cell.key, []):
            if isinstance(end, CellEnded):
                self._tell(number, end.outcome, end.metrics)
            else:
                self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        self._leases.pop(cell.key).release()

    def _propose(self) -> tuple[int, dict[str, Any]] | None:
        """(number, parameters) of an orphan of an earlier launch, or of a newly asked trial."""
        if self._orphans:
            orphan = self._orphans.pop(0)
            return orphan.number, dict(orphan.params)
        if self.proposed_cells >= self.trials or self._duplicates_in_a_row > MAX_DUPLICATES:
            return None
        # The last chance to find a new cell is a random one.
        name = "random" if self._duplicates_in_a_row == MAX_DUPLICATES else self.sampler
        options = self.sampler_options if name == self.sampler else {}
        self.study.sampler = make_sampler(
            name, seed=self.sampler_seed, asked=len(self._keys), **options
        )
        trial = self.study.ask({name: distribution(d) for name, d in self.domains.items()})
        key = self._key_of(trial.params)
        trial.set_user_attr("key", key)
        duplicate = key in self._keys.values()
        self._duplicates_in_a_row = self._duplicates_in_a_row + 1 if duplicate else 0
        self._keys[trial.number] = key
        return trial.number, dict(trial.params)

    def _key_of(self, params: Mapping[str, Any]) -> str:
        """The key of the cell that the parameters ask for, or a name for what cannot be run."""
        try:
            return self.key(self._replicate(params))
        except FieldError as error:
            return f"impossible: {error}"

    def _replicate(self, params: Mapping[str, Any]) -> Replicate:
        return Replicate(assignment(params), self.seed, self.base.with_fields(params))

    def _resolve(self, number: int, params: dict[str, Any]) -> PlannedCell | None:
        """The proposal's cell if it has to be run; otherwise Optuna is told here and now."""
        try:
            cell = self.plan(self._replicate(params))
        except FieldError:
            self.study.tell(number, state=TrialState.FAIL)
            return None
        self.outside.proposed(cell.place)
        if cell.key in self._asking:
            self._asking[cell.key].append(number)
            return None
        if cell.action is Action.REUSE:
            self._reuse([number], cell)
            return None
        if cell.action is Action.FAILED:
            self.study.tell(number, state=TrialState.FAIL)
            return None
        self._asking[cell.key] = [number]
        return cell

    def _take(self, cell: PlannedCell) -> bool:
        """Take the cell's lease, or remember that another study holds it."""
        lease = self.outside.lease(cell.key)
        if not lease.acquire():
            self._leased_elsewhere.append(cell)
            return False
        self._leases[cell.key] = lease
        return True

    def _take_freed(self, cell: PlannedCell) -> bool:
        """Take a cell that another study held, unless that study has finished it."""
        lease = self.outside.lease(cell.key)
        if not lease.acquire():
            return False
        self._leased_elsewhere.remove(cell)
        again = self.plan(Replicate(cell.arm, cell.seed, cell.recipe))
        if again.action is Action.REUSE:
            lease.release()
            self._reuse(self._asking.pop(cell.key), again)
            return False
        self._leases[cell.key] = lease
        return True

    def _reuse(self, numbers: list[int], cell: PlannedCell) -> None:
        record = self.outside.known([cell.key])[cell.key]
        for number in numbers:
            self._tell(number, record.outcome or Outcome.OK, record.metrics)
        self.outside.reused(cell, record)

    def _tell(self, number: int, outcome: Outcome, metrics: Mapping[str, float]) -> None:
        """A diverged cell is a result: it scored what guessing scores."""
        value = self.chance if outcome is Outcome.DIVERGED else metrics[self.metric]
        self.study.tell(number, value, skip_if_finished=True)
