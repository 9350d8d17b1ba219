"""Trials that are known beforehand: values that depend on a seed, never on what was scored.

Every arm of an ablation is offered the same values in the same order, and is offered them again
after any interruption, whatever had ended by then.
"""

import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import optuna

from simclr_lab.spaces.domain import Domain
from simclr_lab.spaces.nuisance import whole_space
from simclr_lab.tuning.optuna_study import ask_for
from simclr_lab.tuning.samplers import make_sampler

PATIENCE = 200
"""Values in a row that ask for earlier cells, before a space counts as exhausted."""


class Proposals:
    """An endless sequence of points of a space, or all of them where there are few.

    Args:
        domains: dotted field -> domain.
        sampler: "qmc" or "random".
        seed: the sampler's.
        wanted: points that are enough; a space that has no more is listed whole, in order.
    """

    def __init__(
        self, domains: Mapping[str, Domain], *, sampler: str, seed: int, wanted: int
    ) -> None:
        whole = whole_space(domains, wanted)
        self._drawn: list[dict[str, Any]] = []
        self._points = _drawn(domains, sampler, seed) if whole is None else whole

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for index in itertools.count():
            if index == len(self._drawn):
                point = next(self._points, None)
                if point is None:
                    return
                self._drawn.append(point)
            yield self._drawn[index]

    def different(
        self, key: Callable[[dict[str, Any]], Hashable], wanted: int
    ) -> list[dict[str, Any]]:
        """The first ``wanted`` points with different keys, or all that patience finds."""
        found: dict[Hashable, dict[str, Any]] = {}
        repeats = 0
        for point in self:
            before = len(found)
            found.setdefault(key(point), point)
            repeats = repeats + 1 if len(found) == before else 0
            if len(found) == wanted or repeats > PATIENCE:
                break
        return list(found.values())


def _drawn(domains: Mapping[str, Domain], sampler: str, seed: int) -> Iterator[dict[str, Any]]:
    """Points from Optuna's sampler, asked in a study in memory that is told nothing."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for asked in itertools.count():
        study.sampler = make_sampler(sampler, seed=seed, asked=asked)
        point = ask_for(study.ask(), domains)
        if asked:  # the first of a quasi-random sequence is drawn apart from it, at random
            yield point
