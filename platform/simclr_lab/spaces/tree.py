"""Study files name recipe fields by nested tables or dotted keys; both mean the same."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from simclr_lab.fields import FieldError, unknown_field
from simclr_lab.recipe import Recipe

_COMMA = re.compile(r",(?![^\[]*\])")
"""A comma that does not stand inside a list."""


def field_leaves(tree: Mapping[str, Any], base: Recipe, prefix: str = "") -> dict[str, Any]:
    """Dotted recipe field -> whatever stands there.

    Raises FieldError for a name that is no field; a seed is a replicate, not a field.
    """
    known = base.flat()
    found: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if path == "seed" or path == "seeds":
            raise FieldError(
                path, "is a replicate, not an arm; allowed: seeds = [...] of the study"
            )
        if path in known:
            found[path] = value
        elif any(other.startswith(f"{path}.") for other in known):
            if not isinstance(value, Mapping):
                raise FieldError(path, f"is {value!r}; allowed: a table of its fields")
            found |= field_leaves(value, base, f"{path}.")
        else:
            raise unknown_field(path, known)
    return found


def assignment(changes: Mapping[str, Any]) -> str:
    """``{"loss.normalize": True}`` -> ``loss.normalize=true``; a readable name of an arm."""
    return ", ".join(f"{name}={plain(value)}" for name, value in changes.items())


def plain(value: Any) -> str:
    """A value as TOML would have it, text without quotes where it stands alone."""
    if isinstance(value, list | tuple):
        return str(list(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse_assignment(text: str) -> dict[str, Any]:
    """The inverse of ``assignment``; a value that is not TOML is text.

    Raises ValueError for a part without an equals sign.
    """
    values: dict[str, Any] = {}
    for part in _COMMA.split(text):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"{part.strip()!r} has no '='")
        values[name] = toml_value(value)
    return values


def toml_value(text: str) -> Any:
    """A value as in TOML; a bare word is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
