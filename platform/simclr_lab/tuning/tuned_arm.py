"""The plan of an arm with nuisance fields: its trials, what they chose, its reported cells."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from simclr_lab.cell import CellRecord, Outcome, StudyCell
from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.nuisance import Nuisance
from simclr_lab.spaces.tree import assignment
from simclr_lab.tuning.plan import Action, PlannedCell, Replicate
from simclr_lab.tuning.proposals import Proposals

TUNING = "tuning"
"""The role of a trial in its study; its numbers choose, they are never reported."""

Plan = Callable[[Sequence[Replicate], Mapping[str, CellRecord]], list[PlannedCell]]


class Tunable(Protocol):
    """An arm, as far as tuning needs to know it."""

    @property
    def label(self) -> str:
        """Its readable name."""
        ...

    @property
    def recipe(self) -> Recipe:
        """Its complete settings, but for the nuisance fields."""
        ...


@dataclass(frozen=True)
class TunedArm:
    """An arm, tuned or to be tuned.

    Args:
        label: its name, in tables too.
        recipe: its settings, but for the nuisance fields.
        wanted: trials that it may have, as many as every other arm.
        trials: the trials, where they are known beforehand; fewer than wanted if its space has
            fewer different cells.
        values: key of a trial -> the nuisance fields' values.
        chosen: the values that scored best, once every trial has an end.
        reported: the cells with the chosen values, one a seed; none before the choice.
    """

    label: str
    recipe: Recipe
    wanted: int
    trials: tuple[PlannedCell, ...] = ()
    values: Mapping[str, Mapping[str, Any]] | None = None
    chosen: Mapping[str, Any] | None = None
    reported: tuple[PlannedCell, ...] = ()

    @property
    def cells(self) -> tuple[PlannedCell, ...]:
        """Every cell that is known."""
        return (*self.trials, *self.reported)

    @property
    def places(self) -> list[StudyCell]:
        """The known cells' places in the study; trials have a role of their own."""
        trials = [StudyCell(cell.key, self.label, cell.seed, TUNING) for cell in self.trials]
        return [*trials, *(cell.place for cell in self.reported)]


@dataclass(frozen=True)
class ArmPlanner:
    """Plans the arms of an ablation that tunes nuisance fields.

    Args:
        nuisance: the fields, the budget, the seed and the metric of the trials.
        seeds: reported seeds.
        chance: the metric of a diverged trial.
        key: the key of a replicate.
        plan: what is to be done about replicates, given what is known.
    """

    nuisance: Nuisance
    seeds: tuple[int, ...]
    chance: float
    key: Callable[[Replicate], str]
    plan: Plan

    def arms(self, arms: Sequence[Tunable], known: Mapping[str, CellRecord]) -> list[TunedArm]:
        """Every arm, in order.

        Raises FieldError where an arm refuses values that the others would try, and where two arms
        would train the same encoders.
        """
        nuisance = self.nuisance
        proposals = Proposals(
            nuisance.domains,
            sampler=nuisance.sampler.name if nuisance.sampler.listed else "random",
            seed=nuisance.sampler.seed,
            wanted=nuisance.trials,
        )
        self._refuse_twins(arms)
        return [self._arm(arm, proposals, known) for arm in arms]

    def _refuse_twins(self, arms: Sequence[Tunable]) -> None:
        seen: dict[str, str] = {}
        for arm in arms:
            key = self.key(Replicate(arm.label, self.nuisance.seed, arm.recipe))
            if key in seen:
                raise FieldError(
                    "nuisance",
                    f"tunes the arms {seen[key]} and {arm.label}, which train the same encoder; "
                    "allowed: arms that differ in what they train",
                )
            seen[key] = arm.label

    def _arm(self, arm: Tunable, proposals: Proposals, known: Mapping[str, CellRecord]) -> TunedArm:
        wanted = self.nuisance.trials
        if not self.nuisance.sampler.listed:
            return TunedArm(arm.label, arm.recipe, wanted)

        def trial(point: Mapping[str, Any]) -> Replicate:
            return Replicate(arm.label, self.nuisance.seed, _with(arm, point))

        points = proposals.different(lambda point: self.key(trial(point)), wanted)
        replicates = [trial(point) for point in points]
        trials = tuple(self.plan(replicates, known))
        values = {cell.key: point for cell, point in zip(trials, points, strict=True)}
        done = {cell.key: known[cell.key] for cell in trials if cell.action is Action.REUSE}
        chosen = self.choose(trials, values, self.scores(done.values()))
        reported = self.reported(arm, chosen, known) if chosen is not None else []
        return TunedArm(arm.label, arm.recipe, wanted, trials, values, chosen, tuple(reported))

    def scores(self, records: Iterable[CellRecord]) -> dict[str, float]:
        """Key -> what a finished trial scored."""
        return {r.key: self.score(r.outcome or Outcome.OK, r.metrics) for r in records}

    def score(self, outcome: Outcome, metrics: Mapping[str, float]) -> float:
        """What a trial scored; a diverged one scored what guessing scores."""
        return self.chance if outcome is Outcome.DIVERGED else metrics[self.nuisance.metric]

    def choose(
        self,
        trials: Sequence[PlannedCell],
        values: Mapping[str, Mapping[str, Any]],
        scores: Mapping[str, float],
    ) -> Mapping[str, Any] | None:
        """The values of the best trial, the earliest of equals; None while one has no score."""
        if any(cell.key not in scores for cell in trials):
            return None
        return values[max(trials, key=lambda cell: scores[cell.key]).key]

    def reported(
        self, arm: Tunable, chosen: Mapping[str, Any], known: Mapping[str, CellRecord]
    ) -> list[PlannedCell]:
        """The arm at the chosen values, once a reported seed."""
        recipe = _with(arm, chosen)
        return self.plan([Replicate(arm.label, seed, recipe) for seed in self.seeds], known)


def _with(arm: Tunable, point: Mapping[str, Any]) -> Recipe:
    try:
        return arm.recipe.with_fields(point)
    except FieldError as error:
        raise FieldError(
            "nuisance",
            f"tries {assignment(point)}, impossible in the arm {arm.label} ({error}); allowed: "
            "domains that every arm can use whole, for an equal budget",
        ) from None
