"""What Optuna is told of a trial: for every way in which a cell can end, one true state."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from simclr_lab.cell import EpochReport, Outcome
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.costs import COSTS
from simclr_lab.training.events import FailureKind

PRUNED_AFTER = "pruned after epoch"
"""User attribute of a trial: the decision, remembered should a crash come before its cell's end."""

MEMORY = "memory"
"""Constraint of a trial that needs more memory than there is; above zero means violated."""


@dataclass
class Verdicts:
    """Tells one study.

    Args:
        study: the open Optuna study.
        objectives: metric -> direction, in the study's order.
        chance: accuracy of guessing, in percent: what a diverged cell scored.
        cheap: metric of an epoch's report by which trials are pruned; None prunes nothing.
    """

    study: Study
    objectives: Mapping[str, str]
    chance: float
    cheap: str | None = None

    def finished(
        self, number: int, recipe: Recipe, outcome: Outcome, metrics: Mapping[str, float]
    ) -> None:
        """COMPLETE; a diverged cell is a result, it scored what guessing scores.

        Costs are counted from the recipe, never measured: the same cell always costs the same.
        """
        diverged = outcome is Outcome.DIVERGED
        values = [
            COSTS[name](recipe) if name in COSTS else self.chance if diverged else metrics[name]
            for name in self.objectives
        ]
        self.study.tell(number, values, skip_if_finished=True)

    def failed(self, trial: Trial, kind: FailureKind) -> None:
        """FAIL, of which no sampler learns; too large for the memory is learnt as a constraint.

        Samplers read constraints of completed and pruned trials only, so that one is PRUNED.
        """
        trial.set_user_attr("failure", kind.value)
        if kind is FailureKind.OUT_OF_MEMORY:
            trial.set_constraint(MEMORY, 1.0)
            self.study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def impossible(self, trial: Trial) -> None:
        """FAIL: the values go together in no recipe."""
        self.study.tell(trial.number, state=TrialState.FAIL)

    def pruned(self, trial: Trial, like: FrozenTrial | None = None) -> None:
        """PRUNED; a duplicate gets the values of the trial that was really run."""
        if like is not None:
            known = self._values(trial)
            for step, value in like.intermediate_values.items():
                if step not in known:
                    trial.report(value, step)
            trial.set_user_attr(PRUNED_AFTER, like.user_attrs[PRUNED_AFTER])
        self.study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)

    def stops(self, trial: Trial, report: EpochReport, epochs: int) -> bool:
        """Report an epoch; whether the pruner wants no more of the trial.

        An epoch that was reported by an earlier launch is not judged twice, a decision that was
        taken stays, and a trial that has trained its last epoch is evaluated in any case.
        """
        if self.cheap is None:
            return False
        if PRUNED_AFTER in trial.user_attrs:
            return True
        value = report.metrics.get(self.cheap, math.nan)
        if not math.isfinite(value) or report.epoch in self._values(trial):
            return False
        trial.report(value, report.epoch)
        if report.epoch >= epochs or not trial.should_prune():
            return False
        trial.set_user_attr(PRUNED_AFTER, report.epoch)
        return True

    def _values(self, trial: Trial) -> Mapping[int, float]:
        """The accuracies that were reported for a trial, by epoch."""
        trials = self.study.get_trials(deepcopy=False)
        return dict(trials[trial.number].intermediate_values)
