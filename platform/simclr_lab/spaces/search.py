"""How a sweep searches: who proposes, and who is stopped early."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

PRUNING_METRIC = "ridge/val_top1"
"""The cheap accuracy after every epoch; pruning compares trials by it."""


class _Named(BaseModel):
    """A name with options; ``OWN`` says which of the options each name has."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)
    OWN: ClassVar[Mapping[str, tuple[str, ...]]]

    name: str

    @model_validator(mode="after")
    def _only_its_own(self) -> Self:
        for option in sorted(self.model_fields_set):
            others = any(option in options for options in self.OWN.values())
            if others and option not in self.OWN[self.name]:
                allowed = ", ".join(self.OWN[self.name]) or "no options"
                raise ValueError(f"{self.name!r} has no {option}; allowed: {allowed}")
        return self

    def options(self) -> dict[str, Any]:
        """The name's own options, as far as they have a value."""
        values = {option: getattr(self, option) for option in self.OWN[self.name]}
        return {option: value for option, value in values.items() if value is not None}


class Sampler(_Named):
    """Who proposes, and from which seed."""

    OWN = {
        "tpe": ("n_startup_trials",),
        "gp": ("n_startup_trials",),
        "random": (),
        "qmc": (),
        "nsga2": ("population_size",),
    }

    name: Literal["tpe", "gp", "random", "qmc", "nsga2"] = "tpe"
    seed: int = Field(0, ge=0)
    n_startup_trials: PositiveInt | None = None  # random trials before a model is fitted
    population_size: int | None = Field(None, ge=2)  # trials of a generation


class Pruning(_Named):
    """Who is stopped before its last epoch, judged by ``PRUNING_METRIC``; epochs are the resource.

    ``min_epochs`` are trained by every trial. Halving keeps one in ``reduction_factor`` at every
    rung; the median rule waits for ``n_startup_trials`` finished trials.
    """

    OWN = {
        "successive_halving": ("min_epochs", "reduction_factor"),
        "hyperband": ("min_epochs", "reduction_factor"),
        "median": ("min_epochs", "n_startup_trials"),
    }

    name: Literal["successive_halving", "hyperband", "median"]
    min_epochs: PositiveInt = 1
    reduction_factor: int | None = Field(None, ge=2)
    n_startup_trials: int | None = Field(None, ge=0)
