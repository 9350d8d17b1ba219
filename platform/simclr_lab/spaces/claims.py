"""Claims: declared before the runs, judged by the artefact. A contrast names two arms."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.tree import parse_assignment


class Claim(BaseModel):
    """What a study expects of a contrast of two arms."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    text: str = Field(min_length=1)
    contrast: str = Field(min_length=1)
    direction: Literal["greater", "less", "equal"]
    smallest_effect: float = Field(1.0, gt=0)  # points


class HasRecipe(Protocol):
    """An arm, as far as a contrast needs to know it."""

    @property
    def label(self) -> str:
        """Its readable name."""
        ...

    @property
    def recipe(self) -> Recipe:
        """Its complete settings."""
        ...


def contrast_arms(contrast: str, arms: Sequence[HasRecipe]) -> tuple[str, str]:
    """Labels of the two arms of ``a=1 - a=2 | b=3``: first minus second, the rest shared.

    Raises FieldError where the text has another form or a side does not name exactly one arm.
    """
    sides, _, shared_text = contrast.partition("|")
    parts = sides.split(" - ")
    if len(parts) != 2:
        raise FieldError("claims.contrast", f"is {contrast!r}; allowed: 'a=1 - a=2 | shared=3'")
    shared = _values(shared_text, contrast) if shared_text.strip() else {}
    first, second = (_one_arm(_values(side, contrast) | shared, contrast, arms) for side in parts)
    return first, second


def _values(text: str, contrast: str) -> dict[str, Any]:
    try:
        values = parse_assignment(text)
    except ValueError as error:
        raise FieldError("claims.contrast", f"is {contrast!r}; {error}") from None
    # Recipes hold what TOML writes as a list as a tuple.
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _one_arm(values: dict[str, Any], contrast: str, arms: Sequence[HasRecipe]) -> str:
    matching = [
        arm.label
        for arm in arms
        if all(
            name in (flat := arm.recipe.flat()) and flat[name] == value
            for name, value in values.items()
        )
    ]
    if len(matching) != 1:
        raise FieldError(
            "claims.contrast",
            f"is {contrast!r}; {values} names {len(matching)} arms; allowed: exactly one",
        )
    return matching[0]
