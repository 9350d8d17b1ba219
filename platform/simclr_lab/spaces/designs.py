"""Designs of ablations: which changes of the baseline become arms."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.tree import field_leaves

MAX_ARMS = 10_000

Changes = dict[str, Any]


def grid(blocks: Sequence[Mapping[str, Any]], base: Recipe) -> list[Changes]:
    """Union of products: each block's fields have lists of values, all combined."""
    parsed: list[dict[str, list[Any]]] = []
    for block in blocks:
        leaves = field_leaves(block, base)
        for name, values in leaves.items():
            if not isinstance(values, list) or not values:
                raise FieldError(name, f"is {values!r}; allowed in a grid: a list of values")
        parsed.append(leaves)
    size = sum(math.prod(len(values) for values in leaves.values()) for leaves in parsed)
    if size > MAX_ARMS:
        raise FieldError("grid", f"has {size} arms; allowed: at most {MAX_ARMS}")
    return [
        dict(zip(leaves, values, strict=True))
        for leaves in parsed
        for values in itertools.product(*leaves.values())
    ]


def one_at_a_time(table: Mapping[str, Any], base: Recipe) -> list[Changes]:
    """The baseline, then each value of each field alone."""
    changes: list[Changes] = [{}]
    for name, values in field_leaves(table, base).items():
        if not isinstance(values, list) or not values:
            raise FieldError(name, f"is {values!r}; allowed: a list of values")
        changes += [{name: value} for value in values if base.flat()[name] != value]
    return changes


def leave_one_out(table: Mapping[str, Any], base: Recipe) -> list[Changes]:
    """The baseline, then each component switched off by the changes under its name."""
    changes: list[Changes] = [{}]
    for component, switched_off in table.items():
        if not isinstance(switched_off, Mapping) or not switched_off:
            raise FieldError(
                f"leave_one_out.{component}", "is no table; allowed: the changes that switch it off"
            )
        changes.append(field_leaves(switched_off, base))
    return changes
