"""How a settings field is declared, named by a dotted path, and found when misspelt."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

_ABSENT = object()


class FieldError(ValueError):
    """A settings field is misnamed or has a value that is not allowed.

    ``field`` is the dotted path, ``problem`` says what is wrong and what is allowed.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Pickle by both parts, so that the error survives a trip between processes."""
        return type(self), (self.field, self.problem)


def setting(
    default: Any,
    *,
    unit: str,
    paper: str,
    about: str = "",
    neutral: Any = _ABSENT,
    **limits: Any,
) -> Any:
    """Declare a field with its unit and the paper's section.

    ``neutral`` belongs to fields added after the first release: while the field equals it, the
    field is left out of a cell's key, so that keys recorded before it existed stay what they were.
    """
    extra: dict[str, Any] = {"unit": unit, "paper": paper}
    if neutral is not _ABSENT:
        extra["neutral"] = neutral
    return Field(default, description=about or None, json_schema_extra=extra, **limits)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"loss": {"temperature": 0.1}}`` -> ``{"loss.temperature": 0.1}``."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        flat |= flatten(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of ``flatten``."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = value
    return tree


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a settings model that is not a section: (dotted path, pydantic FieldInfo)."""
    for name, info in model.model_fields.items():
        kinds = get_args(info.annotation) if isinstance(info.annotation, UnionType) else ()
        for kind in (*kinds, info.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from leaves(kind, f"{prefix}{name}.")
                break
        else:
            yield f"{prefix}{name}", info


def neutral_values(model: type[BaseModel]) -> dict[str, Any]:
    """Dotted path -> the value at which a later field is left out of a cell's key."""
    extras = ((path, info.json_schema_extra) for path, info in leaves(model))
    return {
        path: extra["neutral"]
        for path, extra in extras
        if isinstance(extra, dict) and "neutral" in extra
    }


def unknown_field(name: str, known: Iterable[str]) -> FieldError:
    """The error for a name that no setting has, with the nearest names that exist."""
    candidates = sorted(known)
    near = difflib.get_close_matches(name, candidates, n=3, cutoff=0.6)
    if not near:
        tail = name.rsplit(".", 1)[-1]
        near = [c for c in candidates if tail and tail in c][:3]
    hint = f"did you mean {' or '.join(near)}?" if near else f"allowed: {', '.join(candidates)}"
    return FieldError(name, f"no such field; {hint}")


def _allowed(detail: ErrorDetails) -> str:
    """Pydantic's sentence, in lower case and without its 'Value error, ' opening."""
    text = detail["msg"].removeprefix("Value error, ").replace("Input should be", "allowed:")
    return text[:1].lower() + text[1:]


def field_error(error: ValidationError, known: Iterable[str] = ()) -> FieldError:
    """The first problem of a pydantic error as a FieldError with dotted path and value."""
    details = error.errors()
    detail = details[0]
    path = _dotted(detail, known)
    if detail["type"] == "extra_forbidden":
        return unknown_field(path, known)
    same_field = [d for d in details if _dotted(d, known) == path]
    allowed = " or ".join(dict.fromkeys(_allowed(d) for d in same_field))
    value = detail["input"]
    if isinstance(value, Mapping | BaseModel):
        return FieldError(path, allowed)
    return FieldError(path, f"is {value!r} ({type(value).__name__}); {allowed}")


def _dotted(detail: ErrorDetails, known: Iterable[str]) -> str:
    """The location as a dotted path, without the branch names that pydantic adds for unions."""
    parts = [str(part) for part in detail["loc"]]
    names = set(known)
    while len(parts) > 1 and ".".join(parts) not in names and ".".join(parts[:-1]) in names:
        parts.pop()
    return ".".join(parts)
