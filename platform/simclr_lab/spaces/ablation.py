"""Ablations: arms that the file lists, times seeds."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.spaces import designs
from simclr_lab.spaces.claims import Claim, contrast_arms
from simclr_lab.spaces.domain import Domain, parse_domain
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


class AblationScale(BaseModel):
    """What an ablation changes at one scale."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    seeds: Seeds | None = None
    baseline: dict[str, Any] = Field(default_factory=dict)


class Ablation(StudyBase):
    """Arms by one design, the same seeds for each."""

    seeds: Seeds
    baseline: dict[str, Any] = Field(default_factory=dict)
    grid: list[dict[str, Any]] = Field(default_factory=list)
    one_at_a_time: dict[str, Any] = Field(default_factory=dict)
    leave_one_out: dict[str, Any] = Field(default_factory=dict)
    nuisance: dict[str, Any] = Field(default_factory=dict)
    references: bool = True
    claims: Annotated[
        tuple[Claim, ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)
    ] = ()
    scale: dict[str, AblationScale] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_design(self) -> "Ablation":
        given = [n for n in ("grid", "one_at_a_time", "leave_one_out") if getattr(self, n)]
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}; allowed: one design per study")
        return self

    def seeds_at(self, scale: str) -> tuple[int, ...]:
        """The study's seeds at a scale."""
        own = self.scale.get(scale)
        return own.seeds if own and own.seeds else self.seeds

    def base_at(self, base: Recipe, scale: str) -> Recipe:
        """The baseline laid over a scale's recipe, with the metric's protocol switched on."""
        own = self.scale.get(scale)
        changes = field_leaves(self.baseline, base)
        changes |= field_leaves(own.baseline, base) if own else {}
        protocols = base.evaluation.protocols
        if protocol_of(self.metric) not in protocols:
            changes.setdefault("evaluation.protocols", [*protocols, protocol_of(self.metric)])
        return base.with_fields(changes)

    def arms(self, base: Recipe, scale: str) -> tuple[Arm, ...]:
        """The arms laid over a scale, in the file's order. Raises StudyError."""
        with self.errors():
            start = self.base_at(base, scale)
            every = self._changes(start)
            varied = list(dict.fromkeys(name for changes in every for name in changes))
            arms: list[Arm] = []
            for changes in every:
                recipe = start.with_fields(changes)
                flat = recipe.flat()
                label = assignment({name: flat[name] for name in varied}) or "baseline"
                if any(arm.recipe == recipe for arm in arms):
                    raise FieldError("grid", f"holds the arm {label} twice")
                arms.append(Arm(label, changes, recipe, recipe == start))
            return tuple(arms)

    def _changes(self, start: Recipe) -> list[designs.Changes]:
        if self.grid:
            return designs.grid(self.grid, start)
        if self.one_at_a_time:
            return designs.one_at_a_time(self.one_at_a_time, start)
        if self.leave_one_out:
            return designs.leave_one_out(self.leave_one_out, start)
        return [{}]

    def nuisance_domains(self, base: Recipe) -> dict[str, Domain]:
        """Fields to be tuned inside each arm."""
        leaves = field_leaves(self.nuisance, base)
        return {name: parse_domain(name, leaf, base) for name, leaf in leaves.items()}

    def check(self, base: Recipe, scale: str) -> None:
        """Raises StudyError unless every arm, claim and domain is valid at the scale."""
        arms = self.arms(base, scale)
        with self.errors():
            cells = len(arms) * len(self.seeds_at(scale))
            if cells > MAX_CELLS:
                raise FieldError("seeds", f"make {cells} cells; allowed: at most {MAX_CELLS}")
            if self.nuisance_domains(base):
                raise FieldError("nuisance", "is not run by this version; set the fields per arm")
            for claim in self.claims:
                contrast_arms(claim.contrast, arms)
