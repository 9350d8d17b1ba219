"""Domains: what a searched field may be. Validated against the recipe's own field."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from simclr_lab.fields import FieldError, unknown_field
from simclr_lab.recipe import Recipe


@dataclass(frozen=True)
class Choice:
    """One of a few values; their order means nothing."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """From ``minimum`` to ``maximum``, both included, evenly on a linear or a log scale."""

    minimum: float
    maximum: float
    scale: Literal["linear", "log"] = "linear"
    integer: bool = False


Domain = Choice | Range

_FORMS = "{ choice = [...] } or { min = ..., max = ..., scale = 'linear' or 'log' }"


def parse_domain(field: str, leaf: Any, base: Recipe) -> Domain:
    """The domain of ``field`` from a TOML leaf.

    Raises FieldError where the leaf is no domain, is empty or inverted, or where an end or a choice
    is no value of the field.
    """
    if not isinstance(leaf, Mapping):
        raise FieldError(field, f"is {leaf!r}; allowed: {_FORMS}")
    for name in leaf:
        if name not in ("choice", "min", "max", "scale"):
            raise unknown_field(f"{field}.{name}", [f"{field}.{n}" for n in _KEYS])
    if "choice" in leaf:
        if len(leaf) > 1:
            raise FieldError(field, f"mixes choice with a range; allowed: {_FORMS}")
        return _choice(field, leaf["choice"], base)
    return _range(field, leaf, base)


_KEYS = ("choice", "min", "max", "scale")


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
