"""Ablations: arms that the file lists, times seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.spaces import fairness
from simclr_lab.spaces.claims import Claim, contrast_arms
from simclr_lab.spaces.designs import BASELINE, DESIGNS, Count, Variant
from simclr_lab.spaces.nuisance import Nuisance, parse_nuisance
from simclr_lab.spaces.study import Seeds, StudyBase, protocol_of
from simclr_lab.spaces.tree import assignment, field_leaves

MAX_CELLS = 10_000


@dataclass(frozen=True)
class Arm:
    """A recipe under comparison; ``changes`` are what the study varies, over its baseline."""

    label: str
    changes: dict[str, Any]
    recipe: Recipe
    is_baseline: bool


class Designs(BaseModel):
    """The tables that list arms; a study has one of them."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    grid: list[dict[str, Any]] = Field(default_factory=list)
    matrix: dict[str, Any] = Field(default_factory=dict)
    one_at_a_time: dict[str, Any] = Field(default_factory=dict)
    leave_one_out: dict[str, Any] = Field(default_factory=dict)
    path: list[dict[str, Any]] = Field(default_factory=list)

    def given(self) -> list[str]:
        """Names of the designs that have a table."""
        return [name for name in DESIGNS if getattr(self, name)]


class AblationScale(Designs):
    """What an ablation changes at one scale; a design's table replaces the study's."""

    seeds: Seeds | None = None
    baseline: dict[str, Any] = Field(default_factory=dict)
    nuisance: dict[str, Any] = Field(default_factory=dict)


class Ablation(StudyBase, Designs):
    """Arms by one design, the same seeds for each."""

    seeds: Seeds
    baseline: dict[str, Any] = Field(default_factory=dict)
    nuisance: dict[str, Any] = Field(default_factory=dict)
    references: bool = True
    claims: Annotated[
        tuple[Claim, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)
    ] = ()
    scale: dict[str, AblationScale] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_design(self) -> "Ablation":
        given = self.given()
        given += [n for own in self.scale.values() for n in own.given() if n not in given]
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}; allowed: one design per study")
        return self

    def seeds_at(self, scale: str) -> tuple[int, ...]:
        """The study's seeds at a scale."""
        own = self.scale.get(scale)
        return own.seeds if own and own.seeds else self.seeds

    def base_at(self, base: Recipe, scale: str) -> Recipe:
        """The baseline laid over a scale's recipe, with the metrics' protocols switched on."""
        own = self.scale.get(scale)
        changes = field_leaves(self.baseline, base)
        changes |= field_leaves(own.baseline, base) if own else {}
        start = base.with_fields(changes)
        nuisance = self._nuisance(start, scale)
        metrics = [self.metric, nuisance.metric] if nuisance else [self.metric]
        wanted = [*start.evaluation.protocols, *(protocol_of(metric) for metric in metrics)]
        return start.with_fields({"evaluation.protocols": list(dict.fromkeys(wanted))})

    def arms(self, base: Recipe, scale: str) -> tuple[Arm, ...]:
        """The arms laid over a scale, in the file's order. Raises StudyError."""
        with self.errors():
            start = self.base_at(base, scale)
            design, variants = self._variants(start, scale)
            varied = list(dict.fromkeys(name for v in variants for name in v.changes))
            fairness.refuse_judging_arms(varied)
            arms: dict[Recipe, Arm] = {}
            for variant in variants:
                recipe = start.with_fields(variant.changes)
                flat = recipe.flat()
                label = variant.label or assignment({name: flat[name] for name in varied})
                if recipe in arms:
                    raise FieldError(design, f"holds the arm {label} twice")
                arms[recipe] = Arm(label, variant.changes, recipe, recipe == start)
            return tuple(arms.values())

    def _variants(self, start: Recipe, scale: str) -> tuple[str, list[Variant]]:
        """The name of the design, and what it makes of its table at the scale."""
        own = self.scale.get(scale)
        for name, design in DESIGNS.items():
            if table := (own and getattr(own, name)) or getattr(self, name):
                count = self._counter(name, self.seeds_at(scale), self._nuisance(start, scale))
                return name, design(table, start, count)
        return "", [Variant({}, BASELINE)]

    def nuisance_at(self, base: Recipe, scale: str) -> Nuisance | None:
        """What is tuned inside each arm at a scale, or nothing. Raises StudyError."""
        with self.errors():
            return self._nuisance(self.base_at(base, scale), scale)

    def _nuisance(self, start: Recipe, scale: str) -> Nuisance | None:
        own = self.scale.get(scale)
        tables = [self.nuisance, own.nuisance] if own else [self.nuisance]
        return parse_nuisance(tables, start, self.metric)

    @staticmethod
    def _counter(field: str, seeds: Sequence[int], nuisance: Nuisance | None) -> Count:
        """Refuses a number of arms whose cells would be too many."""
        each = len(seeds) + (nuisance.trials if nuisance else 0)

        def count(arms: int) -> None:
            if arms * each > MAX_CELLS:
                raise FieldError(
                    field,
                    f"makes {arms * each} cells, {arms} arms times {each} seeds and trials; "
                    f"allowed: at most {MAX_CELLS}",
                )

        return count

    def check(self, base: Recipe, scale: str) -> None:
        """Raises StudyError unless every arm, claim and domain is valid at the scale."""
        arms = self.arms(base, scale)
        nuisance = self.nuisance_at(base, scale)
        with self.errors():
            if nuisance:
                fairness.refuse_unfair_nuisance(arms, nuisance)
            fairness.require_rate_per_batch(arms, nuisance)
            for claim in self.claims:
                contrast_arms(claim.contrast, arms)
        self.check_seeds(self.seeds_at(scale), base, scale)

    def check_seeds(self, seeds: Sequence[int], base: Recipe, scale: str) -> None:
        """Raises StudyError unless the arms may be reported with these seeds."""
        nuisance = self.nuisance_at(base, scale)
        with self.errors():
            self._counter("seeds", seeds, nuisance)(len(self.arms(base, scale)))
            if nuisance and nuisance.seed in seeds:
                raise FieldError(
                    "nuisance.seed",
                    f"is {nuisance.seed}, which is a reported seed too; allowed: any other, since "
                    "a choice made on a reported run would flatter it",
                )
