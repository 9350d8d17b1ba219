"""Sweeps: a search over domains."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.domain import Domain, parse_domain
from simclr_lab.spaces.study import Seeds, StudyBase, protocol_of
from simclr_lab.spaces.tree import field_leaves


class Sampler(BaseModel):
    """Who proposes, and from which seed."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    name: Literal["tpe", "gp", "random", "qmc"] = "tpe"
    seed: int = Field(0, ge=0)
    n_startup_trials: PositiveInt | None = None  # random trials before a model is fitted

    def options(self) -> dict[str, Any]:
        """What the sampler is made with, beside its seed."""
        if self.n_startup_trials is None or self.name not in ("tpe", "gp"):
            return {}
        return {"n_startup_trials": self.n_startup_trials}


class SweepScale(BaseModel):
    """What a sweep changes at one scale."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    trials: PositiveInt | None = None
    seeds: Seeds | None = None
    space: dict[str, Any] = Field(default_factory=dict)


class Sweep(StudyBase):
    """Optuna proposes points of the space; the metric, on validation, judges them."""

    trials: PositiveInt
    space: dict[str, Any] = Field(min_length=1)
    seeds: Seeds = (0,)
    sampler: Sampler = Sampler()
    scale: dict[str, SweepScale] = Field(default_factory=dict)

    def seeds_at(self, scale: str) -> tuple[int, ...]:
        """The study's seeds at a scale; every proposal is run with the first."""
        own = self.scale.get(scale)
        return own.seeds if own and own.seeds else self.seeds

    def trials_at(self, scale: str) -> int:
        """Different cells wanted at a scale."""
        own = self.scale.get(scale)
        return own.trials if own and own.trials else self.trials

    def base_at(self, base: Recipe, scale: str) -> Recipe:
        """The scale's recipe with the metric's protocol switched on."""
        protocols = base.evaluation.protocols
        if protocol_of(self.metric) in protocols:
            return base
        return base.with_fields({"evaluation.protocols": [*protocols, protocol_of(self.metric)]})

    def domains(self, base: Recipe, scale: str) -> dict[str, Domain]:
        """Dotted field -> domain at a scale, the file's order. Raises StudyError."""
        with self.errors():
            leaves = field_leaves(self.space, base)
            own = self.scale.get(scale)
            leaves |= field_leaves(own.space, base) if own else {}
            return {name: parse_domain(name, leaf, base) for name, leaf in leaves.items()}

    def check(self, base: Recipe, scale: str) -> None:
        """Raises StudyError unless the sweep can be run honestly at the scale."""
        domains = self.domains(base, scale)
        with self.errors():
            if "test" in self.metric:
                raise FieldError("metric", f"is {self.metric!r}; allowed in a sweep: val metrics")
            if "batch_size" in domains and "optimizer.learning_rate" not in domains:
                raise FieldError(
                    "space.batch_size",
                    "is searched without optimizer.learning_rate; allowed: both together, since "
                    "the best rate depends on the batch",
                )
            evaluation = [name for name in domains if name.startswith("evaluation.")]
            if evaluation:
                raise FieldError(evaluation[0], "judges the encoder; it cannot be searched")
