"""Domains: what a searched field may be. Validated against the recipe's own field."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from simclr_lab.fields import FieldError, unknown_field
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.tree import field_leaves, plain

When = tuple[tuple[str, tuple[Any, ...]], ...]
"""(searched field, its values under which another field is searched at all), all of them."""


@dataclass(frozen=True)
class Choice:
    """One of a few values; their order means nothing."""

    values: tuple[Any, ...]
    when: When = ()

    def __str__(self) -> str:
        return f"one of {', '.join(plain(value) for value in self.values)}{_condition(self.when)}"

    def holds(self, value: Any) -> bool:
        """Whether the value is in the domain."""
        return value in self.values


@dataclass(frozen=True)
class Range:
    """From ``minimum`` to ``maximum``, both included, evenly on a linear or a log scale."""

    minimum: float
    maximum: float
    scale: Literal["linear", "log"] = "linear"
    integer: bool = False
    when: When = ()

    def __str__(self) -> str:
        scale = " on a log scale" if self.scale == "log" else ""
        return f"{self.minimum} to {self.maximum}{scale}{_condition(self.when)}"

    def holds(self, value: Any) -> bool:
        """Whether the value is in the domain."""
        number = isinstance(value, int if self.integer else int | float)
        return number and not isinstance(value, bool) and self.minimum <= value <= self.maximum


Domain = Choice | Range


def _condition(when: When) -> str:
    parts = [f"{name} is {' or '.join(map(plain, allowed))}" for name, allowed in when]
    return f", where {' and '.join(parts)}" if parts else ""


_FORMS = "{ choice = [...] } or { min = ..., max = ..., scale = 'linear' or 'log' }"


def searched(domain: Domain, values: Mapping[str, Any]) -> bool:
    """Whether a field with this domain is searched where other fields have these values."""
    return all(name in values and values[name] in allowed for name, allowed in domain.when)


def parse_domain(field: str, leaf: Any, base: Recipe) -> Domain:
    """The domain of ``field`` from a TOML leaf.

    Raises FieldError where the leaf is no domain, is empty or inverted, or where an end or a choice
    is no value of the field.
    """
    if not isinstance(leaf, Mapping):
        raise FieldError(field, f"is {leaf!r}; allowed: {_FORMS}")
    for name in leaf:
        if name not in _KEYS:
            raise unknown_field(f"{field}.{name}", [f"{field}.{n}" for n in _KEYS])
    when = _when(field, leaf["when"], base) if "when" in leaf else ()
    values = {name: value for name, value in leaf.items() if name != "when"}
    if "choice" not in values:
        return replace(_range(field, values, base), when=when)
    if len(values) > 1:
        raise FieldError(field, f"mixes choice with a range; allowed: {_FORMS}")
    return replace(_choice(field, values["choice"], base), when=when)


_KEYS = ("choice", "min", "max", "scale", "when")


def _when(field: str, tree: Any, base: Recipe) -> When:
    """The conditions of a domain; whether their fields are searched is the sweep's affair."""
    if not isinstance(tree, Mapping) or not tree:
        raise FieldError(
            f"{field}.when", f"is {tree!r}; allowed: a table of searched fields, each with a list"
        )
    conditions = []
    for name, values in field_leaves(tree, base).items():
        if not isinstance(values, list) or not values:
            raise FieldError(f"{field}.when.{name}", f"is {values!r}; allowed: a list of values")
        conditions.append((name, tuple(values)))
    return tuple(conditions)


def ordered(domains: Mapping[str, Domain]) -> dict[str, Domain]:
    """The domains with every field after the fields that it depends on.

    Raises FieldError for a condition on a field that is not searched or on a value that it cannot
    have, and for conditions in a circle.
    """
    for field, domain in domains.items():
        for name, values in domain.when:
            if name not in domains:
                allowed = ", ".join(other for other in domains if other != field)
                raise FieldError(
                    f"{field}.when.{name}", f"is not searched; allowed: {allowed or 'none'}"
                )
            for value in values:
                if not domains[name].holds(value):
                    raise FieldError(
                        f"{field}.when.{name}",
                        f"holds {value!r}; allowed: values of its domain, {domains[name]}",
                    )
    done: dict[str, Domain] = {}
    while len(done) < len(domains):
        ready = {
            field: domain
            for field, domain in domains.items()
            if field not in done and all(name in done for name, _ in domain.when)
        }
        if not ready:
            circle = next(field for field in domains if field not in done)
            raise FieldError(f"{circle}.when", "depends on itself, by way of other conditions")
        done |= ready
    return done


def _choice(field: str, values: Any, base: Recipe) -> Choice:
    if not isinstance(values, list) or not values:
        raise FieldError(f"{field}.choice", f"is {values!r}; allowed: a list of one or more values")
    for index, value in enumerate(values):
        if value in values[:index]:
            raise FieldError(f"{field}.choice", f"holds {value!r} twice")
        check_value(field, value, base)
    return Choice(tuple(values))


def _range(field: str, leaf: Mapping[str, Any], base: Recipe) -> Range:
    for end in ("min", "max"):
        value = leaf.get(end)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise FieldError(f"{field}.{end}", f"is {value!r}; allowed: a finite number")
    low, high, scale = leaf["min"], leaf["max"], leaf.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise FieldError(f"{field}.scale", f"is {scale!r}; allowed: 'linear' or 'log'")
    if low >= high:
        raise FieldError(f"{field}.max", f"is {high!r}; allowed: more than min, {low!r}")
    if scale == "log" and low <= 0:
        raise FieldError(f"{field}.min", f"is {low!r}; allowed on a log scale: more than 0")
    for value in (low, high):
        check_value(field, value, base)
    integer = isinstance(base.flat()[field], int)
    return Range(low, high, scale, integer)


def check_value(field: str, value: Any, base: Recipe) -> None:
    """Raises FieldError unless ``field`` alone, by its own rules, may have the value."""
    rule = {"optimizer.learning_rate_rule": {"optimizer.learning_rate": 0.1}}.get(field, {})
    try:
        base.with_fields({field: value, **rule})
    except FieldError as error:
        # A problem of several fields together is judged on whole recipes, not on one value.
        if error.field == field:
            raise
