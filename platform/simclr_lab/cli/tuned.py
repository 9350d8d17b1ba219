"""An ablation that tunes nuisance fields: its plan, its record and where its cells come from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simclr_lab.cell import CellRecord, StudyCell, StudyRecord
from simclr_lab.cli.exits import output
from simclr_lab.cli.plan_view import SHOWN, counted
from simclr_lab.cli.request import Checked
from simclr_lab.data.sources import dataset_digest
from simclr_lab.identity import METHOD_VERSION, cell_key
from simclr_lab.recipe import DATASET_CLASSES
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.spaces.tree import assignment
from simclr_lab.tracking.home import sweeps
from simclr_lab.tuning.nuisance import (
    ArmSource,
    ListedTrials,
    NuisanceSource,
    SearchedTrials,
    Tuning,
    as_trials,
)
from simclr_lab.tuning.optuna_source import OptunaSource
from simclr_lab.tuning.optuna_study import open_study
from simclr_lab.tuning.plan import (
    Action,
    PlannedCell,
    Replicate,
    reference_replicates,
)
from simclr_lab.tuning.sizes import Sizing
from simclr_lab.tuning.source import AblationSource, Surroundings
from simclr_lab.tuning.tuned_arm import ArmPlanner, Plan, TunedArm

REPORTED, SUPERSEDED = "reported", "superseded"


@dataclass(frozen=True)
class TunedPlan:
    """Every arm with its trials and, where they have chosen, its reported cells."""

    planner: ArmPlanner
    arms: Sequence[TunedArm]
    references: Sequence[PlannedCell]

    @property
    def cells(self) -> list[PlannedCell]:
        """Every cell that is known."""
        return [*(cell for arm in self.arms for cell in arm.cells), *self.references]

    @property
    def places(self) -> list[StudyCell]:
        """The known cells' places in the study."""
        return [
            *(place for arm in self.arms for place in arm.places),
            *(cell.place for cell in self.references),
        ]


def plan_tuned(
    checked: Checked, study: Ablation, known: Mapping[str, CellRecord], plan: Plan
) -> TunedPlan | None:
    """The plan; None for an ablation that tunes nothing. Raises FieldError."""
    scale = checked.request.scale
    nuisance = study.nuisance_at(checked.base, scale)
    if nuisance is None:
        return None
    base = study.base_at(checked.base, scale)
    digest = dataset_digest(base.data.dataset)
    planner = ArmPlanner(
        nuisance=nuisance,
        seeds=checked.seeds,
        chance=100 / DATASET_CLASSES[base.data.dataset],
        key=lambda replicate: cell_key(replicate.recipe, replicate.seed, digest),
        plan=plan,
    )
    references = reference_replicates(base, checked.seeds) if study.references else []
    arms = planner.arms(study.arms(checked.base, scale), known)
    return TunedPlan(planner, arms, plan(references, known))


def show_tuned_plan(title: str, plan: TunedPlan) -> None:
    """The budget of an arm, then what is to be done about trials, results and references."""
    nuisance, seeds = plan.planner.nuisance, len(plan.planner.seeds)
    listed = [cell for arm in plan.arms for cell in arm.trials]
    searched = sum(arm.wanted for arm in plan.arms if not nuisance.sampler.listed)
    reported = [cell for arm in plan.arms for cell in arm.reported]
    waiting = sum(seeds for arm in plan.arms if arm.chosen is None)
    trials = counted(listed) if not searched else f"as {nuisance.sampler.name} proposes them"
    later = f"{waiting} once their arm's trials have chosen" if waiting else ""
    now = counted(reported) if reported else ""
    output.print(
        f"{title}: {len(plan.arms)} arms, each tuned in {nuisance.trials} trials "
        f"({', '.join(nuisance.domains)}; best {nuisance.metric} at seed {nuisance.seed}, "
        f"{nuisance.sampler.name}), then run with {_seeds(seeds)}",
        markup=False,
    )
    output.print(f"  tuning: {len(listed) + searched} cells: {trials}", markup=False)
    together = ", ".join(part for part in (now, later) if part)
    output.print(f"  reported: {len(reported) + waiting} cells: {together}", markup=False)
    output.print(
        f"  references: {len(plan.references)} cells: {counted(plan.references)}", markup=False
    )
    for arm in list(plan.arms)[:SHOWN]:
        output.print(f"  {_arm_line(arm, seeds)}", markup=False)
    if len(plan.arms) > SHOWN:
        output.print(f"  ... and {len(plan.arms) - SHOWN} more arms")


def _arm_line(arm: TunedArm, seeds: int) -> str:
    if arm.values is None:
        return f"{arm.label}: up to {arm.wanted} trials, then {_seeds(seeds)}"
    few = "" if len(arm.trials) == arm.wanted else f" (its space has {len(arm.trials)} cells)"
    if arm.chosen is not None:
        return f"{arm.label}: chose {assignment(arm.chosen)}{few}; {counted(arm.reported)}"
    return f"{arm.label}: trials {counted(arm.trials)}{few}, then {_seeds(seeds)}"


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def cells_ahead(plan: TunedPlan, sizing: Sizing) -> Iterator[PlannedCell]:
    """What may have to be run; what is not known yet is taken to be like its arm."""
    yield from plan.cells
    for arm in plan.arms:
        trials = 0 if arm.values is not None else arm.wanted
        reported = len(plan.planner.seeds) if arm.chosen is None else 0
        for _ in range(trials + reported):
            workers = sizing.workers_of(arm.recipe)
            yield PlannedCell("", arm.label, 0, arm.recipe, Action.RUN, workers)


def tuned_record(
    record: StudyRecord,
    plan: TunedPlan,
    earlier: Sequence[StudyCell],
    known: Mapping[str, CellRecord],
) -> StudyRecord:
    """The study's record with every known place, and those that a later choice took over."""
    places = plan.places
    taken = [old for place in places for old in superseded(place, earlier, known)]
    return replace(record, cells=(*places, *taken))


def superseded(
    place: StudyCell, earlier: Iterable[StudyCell], known: Mapping[str, CellRecord]
) -> list[StudyCell]:
    """What an earlier launch reported of this arm and seed, at values that are not chosen now.

    Cells of an older method version stay: tables count them as such.
    """
    if place.role != REPORTED:
        return []
    return [
        replace(old, role=SUPERSEDED)
        for old in earlier
        if (old.arm, old.seed, old.role) == (place.arm, place.seed, REPORTED)
        and old.key != place.key
        and (old.key not in known or known[old.key].method_version == METHOD_VERSION)
    ]


def tuned_source(
    checked: Checked, plan: TunedPlan, earlier: Sequence[StudyCell], outside: Surroundings
) -> NuisanceSource:
    """Where the cells come from: each arm's trials, then its reported cells, then references."""

    def proposed(place: StudyCell) -> None:
        for old in superseded(place, earlier, outside.known([cell.key for cell in earlier])):
            outside.proposed(old)
        outside.proposed(place)

    noting = replace(outside, proposed=proposed)
    arms = [_arm_source(checked, plan.planner, arm, noting) for arm in plan.arms]
    return NuisanceSource(arms, AblationSource(plan.references, outside))


def _arm_source(
    checked: Checked, planner: ArmPlanner, arm: TunedArm, outside: Surroundings
) -> ArmSource:
    def report(chosen: Mapping[str, Any]) -> list[PlannedCell]:
        keys = [cell.key for cell in planner.reported(arm, chosen, {})]
        return planner.reported(arm, chosen, outside.known(keys))

    tuning: Tuning = (
        ListedTrials(arm, planner, outside)
        if planner.nuisance.sampler.listed
        else _searched(checked, planner, arm, as_trials(outside, arm.label))
    )
    return ArmSource(arm.label, tuning, len(planner.seeds), report, outside)


def _searched(
    checked: Checked, planner: ArmPlanner, arm: TunedArm, outside: Surroundings
) -> SearchedTrials:
    """Trials from the arm's own Optuna study, named after study, scale and arm."""
    nuisance = planner.nuisance

    def plan(replicate: Replicate) -> PlannedCell:
        (cell,) = planner.plan([replicate], outside.known([planner.key(replicate)]))
        return cell

    source = OptunaSource(
        study=open_study(sweeps(), f"{checked.study.name}@{checked.scale}: {arm.label}"),
        domains=nuisance.domains,
        base=arm.recipe,
        seed=nuisance.seed,
        trials=nuisance.trials,
        metric=nuisance.metric,
        chance=planner.chance,
        sampler=nuisance.sampler.name,
        sampler_seed=nuisance.sampler.seed,
        key=planner.key,
        plan=plan,
        outside=outside,
        workers=checked.sizing.widest(arm.recipe, nuisance.domains),
        retry_failed=checked.request.retry_failed,
    )
    return SearchedTrials(source, checked.sizing.widest(arm.recipe, nuisance.domains))


def reused_before(plan: TunedPlan, source: NuisanceSource) -> int:
    """Cells that need no launch, as far as is known before it."""
    known = sum(cell.action is Action.REUSE for cell in plan.cells)
    nuisance = plan.planner.nuisance
    if nuisance.sampler.listed:
        return known
    trials = sum(nuisance.trials - arm.tuning.remaining() for arm in source.arms)
    return known + trials + sum(c.action is Action.REUSE for a in source.arms for c in a.cells)
