"""A sweep's cells, proposed by Optuna one at a time; the study file says what is true of each.

The storage outlives every launch. What was being run when a launch died is proposed again first,
so that its cell is continued; nothing is asked twice and no trial stays open for ever.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from simclr_lab.cell import Outcome, State
from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.domain import Domain
from simclr_lab.spaces.tree import assignment
from simclr_lab.training.events import (
    CellEnded,
    CellEpoch,
    CellEvent,
    CellFailed,
    CellStarted,
    CellStopped,
    EndEvent,
    FailureKind,
)
from simclr_lab.tuning.optuna_study import ask_for, check_space, enqueue
from simclr_lab.tuning.plan import Action, PlannedCell, Replicate
from simclr_lab.tuning.samplers import make_sampler
from simclr_lab.tuning.source import Exhausted, Lease, Surroundings, Wait
from simclr_lab.tuning.verdicts import PRUNED_AFTER, Verdicts

MAX_DUPLICATES = 20
"""Proposals in a row that are no new cell, before the space counts as exhausted."""


@dataclass
class OptunaSource:
    """Asks Optuna for cells until ``trials`` different ones have an end.

    Args:
        study: the open Optuna study; its lease must be held.
        domains: dotted field -> domain, conditions first.
        base: the recipe that the proposals are laid over.
        seed: seed of every cell of the sweep.
        trials: different cells wanted in all.
        metric: the searched metric, higher is better.
        chance: its value for a diverged cell.
        sampler: name of the sampler, and ``sampler_seed`` its seed.
        key: the key of a replicate.
        plan: what is to be done about a replicate; asks the ledger.
        outside: leases, ledger and the parent run's list of cells.
        sampler_options: what else the sampler is made with.
        objectives: metric -> direction where several are searched, ``metric`` among them.
        cheap_metric: of an epoch's report; the study's pruner judges trials by it.
        first: points to try before the sampler's own; what they leave open is proposed.
        workers: of the largest cell that ``plan`` may make.
        retry_failed: propose the points of failed trials again.

    Raises FieldError where the study's earlier trials searched another space.
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
    objectives: Mapping[str, str] = field(default_factory=dict)
    cheap_metric: str | None = None
    first: Sequence[Mapping[str, Any]] = ()
    workers: int = 1
    retry_failed: bool = False
    _verdicts: Verdicts = field(init=False)
    _keys: dict[int, str | None] = field(init=False)
    _orphans: list[FrozenTrial] = field(init=False)
    _retries: list[dict[str, Any]] = field(init=False)
    _asking: dict[str, list[Trial]] = field(init=False, default_factory=dict)
    _leases: dict[str, Lease] = field(init=False, default_factory=dict)
    _leased_elsewhere: list[PlannedCell] = field(init=False, default_factory=list)
    _duplicates_in_a_row: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        objectives = self.objectives or {self.metric: "maximize"}
        self._verdicts = Verdicts(self.study, objectives, self.chance, self.cheap_metric)
        check_space(self.study, self.domains)
        enqueue(self.study, self.first)
        trials = self.study.get_trials(deepcopy=False)
        self._orphans = [trial for trial in trials if trial.state is TrialState.RUNNING]
        finished = [trial for trial in trials if trial.state.is_finished()]
        self._keys = {trial.number: trial.user_attrs.get("key") for trial in finished}
        done = {
            self._keys[trial.number] for trial in finished if trial.state is TrialState.COMPLETE
        }
        failed = {
            key: dict(trial.params)
            for trial in finished
            if trial.state is not TrialState.COMPLETE and "failure" in trial.user_attrs
            if (key := self._keys[trial.number]) not in done
        }
        self._retries = list(failed.values()) if self.retry_failed else []

    @property
    def proposed_cells(self) -> int:
        """Different cells proposed so far, in this launch and before it."""
        return len({key for key in self._keys.values() if key is not None})

    def remaining(self) -> int:
        """Cells that may still be handed out."""
        known = len(self._orphans) + len(self._retries)
        return known + max(0, self.trials - self.proposed_cells - len(self._orphans))

    def widest(self) -> int:
        """Workers of the largest cell that may be handed out."""
        return self.workers

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
        while (trial := self._propose()) is not None:
            resolved = self._resolve(trial)
            if resolved is not None and self._take(resolved):
                return resolved
        return Wait() if self._leased_elsewhere else Exhausted()

    def reported(self, cell: PlannedCell, event: CellEvent) -> bool:
        """Pass an epoch's cheap metric on; whether the pruner wants no more of the cell.

        A cell that is continued tells its earlier epochs first, and is judged by them too.
        """
        reports = event.history if isinstance(event, CellStarted) else ()
        reports = (event.report,) if isinstance(event, CellEpoch) else reports
        trial = self._asking[cell.key][0]
        return any(self._verdicts.stops(trial, report, cell.recipe.epochs) for report in reports)

    def ended(self, cell: PlannedCell, end: EndEvent) -> None:
        """Tell every trial that asked for this cell how it came out.

        One that a budget stopped stays open: the next launch proposes it first.
        """
        asking = self._asking.pop(cell.key, [])
        for trial in asking:
            match end:
                case CellEnded():
                    self._verdicts.finished(trial.number, cell.recipe, end.outcome, end.metrics)
                case CellFailed():
                    self._verdicts.failed(trial, end.kind)
                case CellStopped(state=State.PRUNED):
                    self._verdicts.pruned(trial, self._frozen(asking[0].number))
        self._leases.pop(cell.key).release()

    def _propose(self) -> Trial | None:
        """An orphan of an earlier launch, a failed point again, or a newly asked trial."""
        if self._orphans:
            number = self._orphans.pop(0)._trial_id
            self._reseed(self.sampler)
            return self._named(Trial(self.study, number))
        if self._retries:
            self.study.enqueue_trial(self._retries.pop(0))
        elif self.proposed_cells >= self.trials or self.space_exhausted():
            return None
        # The last chance to find a new cell is a random one.
        last = self._duplicates_in_a_row == MAX_DUPLICATES
        self._reseed("random" if last else self.sampler)
        known = set(self._keys.values())
        trial = self._named(self.study.ask())
        new = self._keys[trial.number] not in known | {None}
        self._duplicates_in_a_row = 0 if new else self._duplicates_in_a_row + 1
        return trial

    def _reseed(self, sampler: str) -> None:
        options = self.sampler_options if sampler == self.sampler else {}
        conditional = any(domain.when for domain in self.domains.values())
        self.study.sampler = make_sampler(
            sampler,
            seed=self.sampler_seed,
            asked=len(self._keys),
            conditional=conditional,
            **options,
        )

    def _named(self, trial: Trial) -> Trial:
        """The trial with all of its values, and with the key of its cell if there is one."""
        try:
            key = self.key(self._replicate(ask_for(trial, self.domains)))
        except FieldError:
            key = None
        if key is not None and "key" not in trial.user_attrs:
            trial.set_user_attr("key", key)
        self._keys[trial.number] = key
        return trial

    def _replicate(self, values: Mapping[str, Any]) -> Replicate:
        return Replicate(assignment(values), self.seed, self.base.with_fields(values))

    def _resolve(self, trial: Trial) -> PlannedCell | None:
        """The proposal's cell if it has to be run; otherwise Optuna is told here and now."""
        try:
            cell = self.plan(self._replicate(ask_for(trial, self.domains)))
        except FieldError:
            self._verdicts.impossible(trial)
            return None
        self.outside.proposed(cell.place)
        if cell.key in self._asking:
            self._asking[cell.key].append(trial)
        elif cell.action is Action.REUSE:
            self._reuse([trial], cell)
        elif cell.action is Action.FAILED:
            kind = self.outside.known([cell.key])[cell.key].reason_kind
            self._verdicts.failed(trial, FailureKind(kind or FailureKind.ERROR))
        elif (earlier := self._pruned_here(cell.key)) is not None:
            self._verdicts.pruned(trial, earlier)
        else:
            self._asking[cell.key] = [trial]
            return cell
        return None

    def _pruned_here(self, key: str) -> FrozenTrial | None:
        """The trial of this study whose cell with this key was pruned."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)):
            if trial.user_attrs.get("key") == key and PRUNED_AFTER in trial.user_attrs:
                return trial
        return None

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

    def _reuse(self, trials: Sequence[Trial], cell: PlannedCell) -> None:
        record = self.outside.known([cell.key])[cell.key]
        outcome = record.outcome or Outcome.OK
        for trial in trials:
            self._verdicts.finished(trial.number, cell.recipe, outcome, record.metrics)
        self.outside.reused(cell, record)

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]
