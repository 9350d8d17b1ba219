"""Nuisance fields: what is tuned inside each arm, so that every arm is judged at its best."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from simclr_lab.fields import FieldError, field_error, unknown_field
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.designs import judges
from simclr_lab.spaces.domain import Choice, Domain, parse_domain
from simclr_lab.spaces.study import Metric
from simclr_lab.spaces.tree import field_leaves

TUNING_SEED = 1_000_000
"""Seed of every trial unless the file names one: never a reported seed, whichever are asked for."""


class NuisanceSampler(BaseModel):
    """Where the trials' values come from; the same for every arm."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    name: Literal["qmc", "random", "tpe"] = "qmc"
    seed: int = Field(0, ge=0)

    @property
    def listed(self) -> bool:
        """Whether the values are known beforehand, whatever the trials before them scored."""
        return self.name != "tpe"


class Nuisance(BaseModel):
    """Domains to be tuned, and the budget that every arm gets for it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    trials: PositiveInt
    metric: Metric
    seed: int = Field(TUNING_SEED, ge=0)
    sampler: NuisanceSampler = NuisanceSampler()
    domains: dict[str, Any] = Field(min_length=1)  # dotted field -> Domain


_OWN = ("trials", "metric", "seed", "sampler")


def parse_nuisance(
    tables: Sequence[Mapping[str, Any]], base: Recipe, metric: str
) -> Nuisance | None:
    """The study's ``[nuisance]`` with what a scale changes of it; None where there is none.

    Args:
        tables: the study's table, then the scale's.
        base: the recipe that the arms change.
        metric: the study's; on validation it is what the trials are judged by, unless they name
            another.

    Raises:
        FieldError: the settings or a domain are not allowed.
    """
    settings: dict[str, Any] = {"metric": metric.replace("/test_", "/val_")}
    leaves: dict[str, Any] = {}
    for table in tables:
        settings |= {name: value for name, value in table.items() if name in _OWN}
        domains = {name: value for name, value in table.items() if name not in _OWN}
        _refuse_unknown(domains, base)
        leaves |= field_leaves(domains, base)
    if not any(tables):
        return None
    if "test" in str(settings["metric"]):
        raise FieldError(
            "nuisance.metric", f"is {settings['metric']!r}; allowed: val metrics, as in a sweep"
        )
    for name, leaf in leaves.items():
        if judges(name):
            raise FieldError(f"nuisance.{name}", "judges the encoder; it cannot be tuned")
        if isinstance(leaf, Mapping) and "when" in leaf:
            raise FieldError(f"nuisance.{name}.when", "is a sweep's; an arm tunes all its fields")
    parsed = {name: parse_domain(name, leaf, base) for name, leaf in leaves.items()}
    try:
        return Nuisance.model_validate(settings | {"domains": parsed})
    except ValidationError as error:
        problem = field_error(error)
        if problem.field == "domains":
            raise FieldError("nuisance", "names no field; allowed: one domain or more") from None
        raise FieldError(f"nuisance.{problem.field}", problem.problem) from None


def _refuse_unknown(domains: Mapping[str, Any], base: Recipe) -> None:
    known = [*_OWN, *base.model_dump()]
    for name in domains:
        if name.split(".")[0] not in known:
            raise unknown_field(f"nuisance.{name}", [f"nuisance.{other}" for other in known])


def ends(domain: Domain) -> tuple[Any, ...]:
    """The values of a domain that a recipe is most likely to refuse."""
    return domain.values if isinstance(domain, Choice) else (domain.minimum, domain.maximum)


def whole_space(domains: Mapping[str, Domain], most: int) -> Iterator[dict[str, Any]] | None:
    """Every point of a space that has at most ``most``; None for a larger one."""
    values = [_values(domain) for domain in domains.values()]
    if math.prod(math.inf if v is None else len(v) for v in values) > most:
        return None
    points = itertools.product(*(v for v in values if v is not None))
    return (dict(zip(domains, point, strict=True)) for point in points)


def _values(domain: Domain) -> Sequence[Any] | None:
    """The values of a domain that has finitely many."""
    if isinstance(domain, Choice):
        return domain.values
    return range(int(domain.minimum), int(domain.maximum) + 1) if domain.integer else None
