"""Optuna's samplers by the names of study files, seeded by how much has been asked."""

import warnings
from typing import Any

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)


def make_sampler(name: str, *, seed: int, asked: int, **options: Any) -> BaseSampler:
    """The sampler for the next proposal.

    A sampler is made anew before every ask, its seed drawn from (seed, asked): a study that is
    opened again would otherwise propose its first points once more.
    """
    mixed = int(np.random.SeedSequence([seed, asked]).generate_state(1)[0])
    match name:
        case "tpe":
            return TPESampler(seed=mixed, multivariate=True, constant_liar=True, **options)
        case "gp":
            return GPSampler(seed=mixed, **options)
        case "random":
            return RandomSampler(seed=mixed)
        case "qmc":
            return _quasi_random(seed)
        case "nsga2":
            return NSGAIISampler(seed=mixed)
    raise ValueError(f"sampler.name is {name!r}; allowed: tpe, gp, random, qmc, nsga2")


def _quasi_random(seed: int) -> BaseSampler:
    """Its sequence counts the study's trials itself, so its seed stays the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # its interface may change one day
        return QMCSampler(seed=seed, scramble=True)
