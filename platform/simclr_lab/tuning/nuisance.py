"""An ablation that tunes nuisance fields: per arm its trials, a choice, then its reported cells."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from optuna.trial import TrialState

from simclr_lab.cell import CellRecord, StudyCell
from simclr_lab.spaces.tree import assignment
from simclr_lab.training.events import CellEnded, CellEvent, EndEvent
from simclr_lab.tuning.optuna_source import OptunaSource
from simclr_lab.tuning.optuna_study import ask_for
from simclr_lab.tuning.plan import Action, PlannedCell
from simclr_lab.tuning.source import AblationSource, CellSource, Exhausted, Surroundings, Wait
from simclr_lab.tuning.tuned_arm import TUNING, ArmPlanner, TunedArm


class Tuning(CellSource, Protocol):
    """The trials of one arm."""

    def choose(self) -> Mapping[str, Any] | None:
        """The best values once every trial has ended; None where no honest choice can be made."""
        ...

    def problem(self) -> str:
        """Why there is no choice."""
        ...


class ListedTrials:
    """Trials that are known beforehand; the order in which they end changes nothing.

    Args:
        arm: the arm with its trials.
        planner: scores and chooses.
        outside: leases, ledger, progress.
    """

    def __init__(self, arm: TunedArm, planner: ArmPlanner, outside: Surroundings) -> None:
        self.arm, self.planner, self.outside = arm, planner, outside
        done = [cell.key for cell in arm.trials if cell.action is Action.REUSE]
        self._scores = planner.scores(outside.known(done).values())
        self._source = AblationSource(arm.trials, replace(outside, reused=self._reused))

    def next_cell(self) -> PlannedCell | Wait | Exhausted:
        """The next trial that has to be run."""
        return self._source.next_cell()

    def ended(self, cell: PlannedCell, end: EndEvent) -> None:
        """Remember the score of a trial that came to its end."""
        if isinstance(end, CellEnded):
            self._scores[cell.key] = self.planner.score(end.outcome, end.metrics)
        self._source.ended(cell, end)

    def remaining(self) -> int:
        """Trials that may still be handed out."""
        return self._source.remaining()

    def widest(self) -> int:
        """Workers of the largest trial."""
        return max(cell.workers for cell in self.arm.trials)

    def reported(self, cell: PlannedCell, event: CellEvent) -> bool:
        """Trials are trained to the end, as the cells that they choose for are."""
        return False

    def choose(self) -> Mapping[str, Any] | None:
        """The best values; None unless every trial has a score, or the budget were unequal."""
        return self.planner.choose(self.arm.trials, self.arm.values or {}, self._scores)

    def problem(self) -> str:
        """How many trials have no score."""
        count = sum(cell.key not in self._scores for cell in self.arm.trials)
        return (
            f"{count} of {len(self.arm.trials)} trials have no score, and a choice among the "
            "others would be made on a smaller budget than that of the other arms"
        )

    def _reused(self, cell: PlannedCell, record: CellRecord) -> None:
        self._scores |= self.planner.scores([record])
        self.outside.reused(cell, record)


@dataclass
class SearchedTrials:
    """Trials that Optuna proposes by the scores of those before them, on up to ``workers`` each."""

    source: OptunaSource
    workers: int = 1

    def next_cell(self) -> PlannedCell | Wait | Exhausted:
        """The next trial that has to be run."""
        return self.source.next_cell()

    def ended(self, cell: PlannedCell, end: EndEvent) -> None:
        """Optuna is told the score."""
        self.source.ended(cell, end)

    def remaining(self) -> int:
        """Trials that may still be handed out."""
        return self.source.remaining()

    def widest(self) -> int:
        """Workers of the largest trial."""
        return self.workers

    def reported(self, cell: PlannedCell, event: CellEvent) -> bool:
        """Trials are trained to the end, as the cells that they choose for are."""
        return False

    def choose(self) -> Mapping[str, Any] | None:
        """The values of the best trial, the earliest of equals; a failed one is lost."""
        trials = self.source.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not trials:
            return None
        best = max(trials, key=lambda trial: (trial.value, -trial.number))
        return ask_for(best, self.source.domains)

    def problem(self) -> str:
        """Why there is no choice."""
        return "none of its trials came to an end"


def as_trials(outside: Surroundings, label: str) -> Surroundings:
    """Surroundings in which what is proposed counts as a trial of the arm, not as a result."""

    def proposed(place: StudyCell) -> None:
        outside.proposed(replace(place, arm=label, role=TUNING))

    return replace(outside, proposed=proposed)


@dataclass
class ArmSource:
    """One arm: first its trials, then, at the values that they chose, its reported cells.

    Args:
        label: the arm's name.
        tuning: its trials.
        seeds: reported cells that there will be.
        report: the reported cells at chosen values.
        outside: leases, ledger, progress.
    """

    label: str
    tuning: Tuning
    seeds: int
    report: Callable[[Mapping[str, Any]], list[PlannedCell]]
    outside: Surroundings
    chosen: Mapping[str, Any] | None = field(init=False, default=None)
    problem: str | None = field(init=False, default=None)
    _trials: set[str] = field(init=False, default_factory=set)
    _reported: AblationSource | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not self.tuning.remaining():
            self._choose()

    def next_cell(self) -> PlannedCell | Wait | Exhausted:
        """A trial while there are any, a reported cell once the trials have chosen."""
        if self._reported is None and self.problem is None:
            cell = self.tuning.next_cell()
            if isinstance(cell, PlannedCell):
                self._trials.add(cell.key)
            if not isinstance(cell, Exhausted):
                return cell
            if self._trials:
                return Wait()
            self._choose()
        return self._reported.next_cell() if self._reported else Exhausted()

    def ended(self, cell: PlannedCell, end: EndEvent) -> None:
        """Pass the end to where the cell came from."""
        if cell.key in self._trials:
            self._trials.remove(cell.key)
            self.tuning.ended(cell, end)
        elif self._reported is not None:
            self._reported.ended(cell, end)

    def remaining(self) -> int:
        """Cells that may still be handed out."""
        if self.problem is not None:
            return 0
        if self._reported is not None:
            return self._reported.remaining()
        return self.tuning.remaining() + self.seeds

    def widest(self) -> int:
        """Workers of the largest cell."""
        return max([self.tuning.widest(), *(cell.workers for cell in self.cells)])

    @property
    def cells(self) -> Sequence[PlannedCell]:
        """The reported cells; none before the choice."""
        return self._reported.cells if self._reported is not None else ()

    def reported(self, cell: PlannedCell, event: CellEvent) -> bool:
        """Every cell is trained to the end."""
        return False

    def _choose(self) -> None:
        self.chosen = self.tuning.choose()
        if self.chosen is None:
            self.problem = f"{self.label}: not reported, {self.tuning.problem()}"
            return
        cells = self.report(self.chosen)
        for cell in cells:
            self.outside.proposed(cell.place)
            if cell.action is Action.REUSE:
                self.outside.reused(cell, self.outside.known([cell.key])[cell.key])
        self._reported = AblationSource(cells, self.outside)


@dataclass
class NuisanceSource:
    """All arms, the first first; while an arm waits for its trials the next one is served.

    What an arm's cells are depends on that arm's trials alone, so neither the order of ends nor
    an interruption changes a result.
    """

    arms: Sequence[ArmSource]
    references: AblationSource
    _owners: dict[str, CellSource] = field(init=False, default_factory=dict)

    def next_cell(self) -> PlannedCell | Wait | Exhausted:
        """The first cell that any arm has now."""
        waiting = False
        for source in self._sources:
            cell = source.next_cell()
            if isinstance(cell, PlannedCell):
                self._owners[cell.key] = source
                return cell
            waiting = waiting or isinstance(cell, Wait)
        return Wait() if waiting else Exhausted()

    def ended(self, cell: PlannedCell, end: EndEvent) -> None:
        """Pass the end to the cell's arm."""
        self._owners.pop(cell.key).ended(cell, end)

    def remaining(self) -> int:
        """Cells that may still be handed out."""
        return sum(source.remaining() for source in self._sources)

    def widest(self) -> int:
        """Workers of the largest cell that may be handed out."""
        arms = [arm.widest() for arm in self.arms if arm.remaining()]
        return max([*arms, *(cell.workers for cell in self.references.cells)], default=0)

    def reported(self, cell: PlannedCell, event: CellEvent) -> bool:
        """Arms are trained to the end, all of them."""
        return False

    @property
    def _sources(self) -> list[CellSource]:
        return [*self.arms, self.references]

    def problems(self) -> list[str]:
        """Arms that are not reported, and why."""
        return [arm.problem for arm in self.arms if arm.problem is not None]

    def outcomes(self) -> list[str]:
        """One line per arm: what its trials chose, or why it is not reported."""
        chosen = [
            f"{arm.label}: chose {assignment(arm.chosen)}"
            for arm in self.arms
            if arm.chosen is not None
        ]
        return chosen + self.problems()
