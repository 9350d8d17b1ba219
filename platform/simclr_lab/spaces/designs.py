"""Designs of ablations: which changes of the baseline become arms.

Each design counts its arms before it makes them: a product may be larger than the memory.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.tree import assignment, field_leaves

Changes = dict[str, Any]
Count = Callable[[int], None]
"""Told how many arms there will be, before there are any; raises FieldError for too many."""

BASELINE = "baseline"
STEP = "step"
"""The name of a step of a path, beside its changes."""


@dataclass(frozen=True)
class Variant:
    """What an arm changes of the baseline; ``label`` where the design has a name for it."""

    changes: Changes
    label: str | None = None


def grid(blocks: Sequence[Mapping[str, Any]], base: Recipe, count: Count) -> list[Variant]:
    """Union of products: each block's fields have lists of values, all combined."""
    parsed: list[dict[str, list[Any]]] = []
    for block in blocks:
        leaves = field_leaves(block, base)
        for name, values in leaves.items():
            _require_list(name, values)
        parsed.append(leaves)
    count(sum(math.prod(len(values) for values in leaves.values()) for leaves in parsed))
    return [
        Variant(dict(zip(leaves, values, strict=True)))
        for leaves in parsed
        for values in itertools.product(*leaves.values())
    ]


def matrix(table: Mapping[str, Any], base: Recipe, count: Count) -> list[Variant]:
    """Every ordered pair (A, B) of a list-valued field's components, row by row (Figure 5).

    The diagonal is the component alone. ``pair`` finds row and column again.
    """
    leaves = field_leaves(table, base)
    if len(leaves) != 1:
        raise FieldError("matrix", f"names {len(leaves)} fields; allowed: one field of a list")
    ((name, components),) = leaves.items()
    flat = base.flat()
    if not isinstance(flat[name], tuple):
        lists = [n for n, v in flat.items() if isinstance(v, tuple) and not judges(n)]
        raise FieldError(name, f"holds no list; allowed in a matrix: {', '.join(lists)}")
    _require_list(name, components)
    count(len(components) ** 2)
    pairs = itertools.product(components, repeat=2)
    return [Variant({name: [a] if a == b else [a, b]}) for a, b in pairs]


def pair(components: Sequence[str]) -> tuple[str, str]:
    """Row and column of a matrix's arm: (A, A) for a component alone.

    Raises ValueError for a list that is no arm of a matrix.
    """
    if len(components) not in (1, 2):
        raise ValueError(f"{list(components)} is no pair; allowed: one component, or two in order")
    return components[0], components[-1]


def one_at_a_time(table: Mapping[str, Any], base: Recipe, count: Count) -> list[Variant]:
    """The baseline, then each value of each field alone; the baseline's own values add no arm."""
    leaves = field_leaves(table, base)
    for name, values in leaves.items():
        _require_list(name, values)
    count(1 + sum(len(values) for values in leaves.values()))
    changes = [{name: value} for name, values in leaves.items() for value in values]
    others = [Variant(c, assignment(c)) for c in changes if base.with_fields(c) != base]
    return [Variant({}, BASELINE), *others]


def leave_one_out(table: Mapping[str, Any], base: Recipe, count: Count) -> list[Variant]:
    """The baseline, then each component switched off by the changes under its name."""
    count(1 + len(table))
    variants = [Variant({}, BASELINE)]
    for component, switched_off in table.items():
        where = f"leave_one_out.{component}"
        if not isinstance(switched_off, Mapping) or not switched_off:
            raise FieldError(where, "is no table; allowed: the changes that switch it off")
        changes = field_leaves(switched_off, base)
        if base.with_fields(changes) == base:
            raise FieldError(where, f"changes nothing: the baseline has {assignment(changes)}")
        variants.append(Variant(changes, f"without {_name(where, component)}"))
    return variants


def path(steps: Sequence[Mapping[str, Any]], base: Recipe, count: Count) -> list[Variant]:
    """The baseline, then one step after another, each on top of those before it."""
    count(1 + len(steps))
    variants = [Variant({}, BASELINE)]
    for number, table in enumerate(steps, start=1):
        where = f"path.{number}"
        name = _name(f"{where}.{STEP}", table.get(STEP))
        step = field_leaves({n: v for n, v in table.items() if n != STEP}, base)
        before = variants[-1].changes
        changes = before | step
        if base.with_fields(changes) == base.with_fields(before):
            raise FieldError(where, f"({name}) changes nothing of the step before it")
        variants.append(Variant(changes, f"step {number}: {name}"))
    return variants


DESIGNS: dict[str, Callable[[Any, Recipe, Count], list[Variant]]] = {
    "grid": grid,
    "matrix": matrix,
    "one_at_a_time": one_at_a_time,
    "leave_one_out": leave_one_out,
    "path": path,
}


def judges(name: str) -> bool:
    """Whether a field is about how an encoder is judged, not about which encoder it is."""
    return name.startswith("evaluation.")


def _require_list(name: str, values: Any) -> None:
    if not isinstance(values, list) or not values:
        raise FieldError(name, f"is {values!r}; allowed: a list of values")


def _name(where: str, text: Any) -> str:
    """A name that becomes a label: one that cannot be taken for an assignment or a contrast."""
    if not isinstance(text, str) or not text.strip() or "=" in text or " - " in text:
        raise FieldError(where, f"is {text!r}; allowed: a name without '=' and ' - '")
    return text
