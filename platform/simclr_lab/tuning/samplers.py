"""Optuna's samplers and pruners by the names of study files."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)


def make_sampler(
    name: str, *, seed: int, asked: int, conditional: bool = False, **options: Any
) -> BaseSampler:
    """The sampler for the next proposal.

    A sampler is made anew before every ask, its seed drawn from (seed, asked): a study that is
    opened again would otherwise propose its first points once more. ``conditional``: fields are
    searched under conditions, so that TPE models each group of fields that occurs together.
    """
    mixed = int(np.random.SeedSequence([seed, asked]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # interfaces may change one day
        match name:
            case "tpe":
                return TPESampler(
                    seed=mixed, multivariate=True, group=conditional, constant_liar=True, **options
                )
            case "gp":
                return GPSampler(seed=mixed, warn_independent_sampling=False, **options)
            case "random":
                return RandomSampler(seed=mixed)
            case "qmc":  # its sequence counts the study's trials itself: the seed stays the same
                return QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
            case "nsga2":
                return NSGAIISampler(seed=mixed, **options)
    raise ValueError(f"sampler.name is {name!r}; allowed: tpe, gp, random, qmc, nsga2")


def make_pruner(name: str | None, options: Mapping[str, Any], *, epochs: int) -> BasePruner:
    """The rule that ends trials early, after ``min_epochs`` at the soonest; epochs are its steps.

    None prunes nothing. Its memory is the study's: reported values and rungs that were passed.
    """
    given = {new: options[old] for old, new in _OPTUNAS_WORDS.items() if old in options}
    least = options.get("min_epochs", 1)
    match name:
        case None:
            return NopPruner()
        case "successive_halving":
            return SuccessiveHalvingPruner(min_resource=least, **given)
        case "hyperband":
            return HyperbandPruner(min_resource=least, max_resource=max(epochs, least), **given)
        case "median":
            return MedianPruner(n_warmup_steps=least, **given)
    raise ValueError(f"pruning.name is {name!r}; allowed: successive_halving, hyperband, median")


_OPTUNAS_WORDS = {"reduction_factor": "reduction_factor", "n_startup_trials": "n_startup_trials"}
