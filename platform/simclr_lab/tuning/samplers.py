"""Optuna's samplers by the names of study files, seeded by how much has been asked."""

from typing import Any

import numpy as np
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
            return QMCSampler(seed=seed, scramble=True)  # its sequence counts trials itself
        case "nsga2":
            return NSGAIISampler(seed=mixed)
    raise ValueError(f"sampler.name is {name!r}; allowed: tpe, gp, random, qmc, nsga2")
