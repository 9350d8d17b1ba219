"""Datasets that a study's encoders are transferred to: known, and had, before a worker starts."""

from collections.abc import Iterable

from simclr_lab.data.sources import find_source, known_datasets
from simclr_lab.fields import FieldError
from simclr_lab.names import target_of
from simclr_lab.recipe import Recipe


def target_datasets(recipes: Iterable[Recipe], metric: str) -> tuple[str, ...]:
    """Names of the datasets in the recipes' transfer protocols, each once.

    Raises FieldError for a dataset that is not known here, and where ``metric`` is another than the
    one its dataset is scored by.
    """
    protocols = dict.fromkeys(p for recipe in recipes for p in recipe.evaluation.protocols)
    targets = dict.fromkeys(named[1] for p in protocols if (named := target_of(p)))
    known = known_datasets()
    for name in targets:
        if name not in known:
            raise FieldError(
                "evaluation.protocols",
                f"transfers to {name!r}; allowed: {', '.join(known)}, and image folders after "
                "'simclr-lab data register'",
            )
    protocol, _, measured = metric.partition("/")
    named = target_of(protocol)
    if named is not None:
        own = find_source(named[1]).metric
        if not measured.endswith(f"_{own}"):
            raise FieldError("metric", f"is {metric!r}; allowed: {named[1]} is scored by {own}")
    return tuple(targets)
