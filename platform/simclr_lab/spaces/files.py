"""Reading a study file: every mistake in it ends here, with the file and the field named."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simclr_lab.fields import field_error, leaves
from simclr_lab.recipes import SCALES
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.spaces.errors import StudyError
from simclr_lab.spaces.sweep import Sweep

Study = Ablation | Sweep

MAX_BYTES = 1_000_000
MAX_DEPTH = 20


def load_study(path: Path | str) -> Study:
    """The ablation or sweep in a file; it is a sweep if it has a ``space``.

    What depends on the scale is checked by the study's ``check(base, scale)``. Raises StudyError.
    """
    path = Path(path)
    text = _text(path)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(path, "", f"is not TOML: {error}") from None
    except RecursionError:
        raise StudyError(path, "", f"nests deeper than {MAX_DEPTH} tables") from None
    if _depth(content) > MAX_DEPTH:
        raise StudyError(path, "", f"nests deeper than {MAX_DEPTH} tables")
    kind: type[Ablation] | type[Sweep] = Sweep if "space" in content else Ablation
    _refuse_misplaced(path, content, kind)
    try:
        return kind.model_validate({**content, "file": path, "text": text})
    except ValidationError as error:
        names = {*kind.model_fields, *(path for path, _ in leaves(kind))}
        known = names - {"file", "text"}
        problem = field_error(error, known)
        raise StudyError(path, problem.field, problem.problem) from None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StudyError(path, "", f"is larger than {MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise StudyError(path, "", f"is not UTF-8: {error}") from None
    except OSError as error:
        raise StudyError(path, "", f"cannot be read: {error.strerror}") from None


def _depth(value: Any) -> int:
    """Nesting of tables and lists, counted without recursion."""
    depth, level = 0, [value]
    while level:
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        depth += bool(level)
    return depth


def _refuse_misplaced(path: Path, content: Mapping[str, Any], kind: type[Study]) -> None:
    for name in ("file", "text"):
        if name in content:
            raise StudyError(path, name, "no such field")
    for scale in content.get("scale", {}):
        if scale not in SCALES:
            raise StudyError(path, f"scale.{scale}", f"no such scale; allowed: {', '.join(SCALES)}")
    if "pruning" in content and kind is Ablation:
        raise StudyError(
            path, "pruning", "prunes an ablation, whose arms would then be trained unequally"
        )
