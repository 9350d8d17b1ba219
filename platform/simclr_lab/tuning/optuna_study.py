"""A sweep's Optuna study: where it is kept, how domains are put to it, and what it may not mix."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import BaseTrial

from simclr_lab.fields import FieldError
from simclr_lab.spaces.domain import Choice, Domain, searched


def open_study(
    storage: Path | str,
    name: str,
    objectives: Mapping[str, str] | None = None,
    pruner: BasePruner | None = None,
) -> Study:
    """The sweep's Optuna study; made when it is new.

    Args:
        storage: a journal file, or the URL of a database that Optuna keeps studies in.
        name: of the study within the storage.
        objectives: metric -> ``maximize`` or ``minimize``; default one without a name, maximized.
        pruner: ends trials early.

    Raises FieldError where the study was begun with other metrics.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = list(objectives.values()) if objectives else ["maximize"]
    study = optuna.create_study(
        storage=open_storage(storage),
        study_name=name,
        directions=directions,
        pruner=pruner,
        load_if_exists=True,
    )
    known = study.user_attrs.get("metrics", [])
    wanted = list(objectives) if objectives else known
    begun = [direction.name.lower() for direction in study.directions]
    if begun != directions or (known and known != wanted):
        raise FieldError(
            "metric",
            f"is {' and '.join(wanted) or directions}, while {name} was begun with "
            f"{' and '.join(known) or begun}; allowed: the same metrics, or a study file of "
            "another name",
        )
    if wanted and not known:
        study.set_user_attr("metrics", wanted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(wanted)  # what a dashboard writes at its axes
    return study


def open_storage(storage: Path | str) -> BaseStorage | str:
    """A journal file, made when it is new, or the URL of a database as it is."""
    if isinstance(storage, str):
        return storage
    storage.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(storage)))


def distribution(domain: Domain) -> BaseDistribution:
    """Optuna's word for a domain of a study file."""
    if isinstance(domain, Choice):
        return CategoricalDistribution([to_optuna(value) for value in domain.values])
    log = domain.scale == "log"
    if domain.integer:
        return IntDistribution(int(domain.minimum), int(domain.maximum), log=log)
    return FloatDistribution(domain.minimum, domain.maximum, log=log)


def to_optuna(value: Any) -> Any:
    """A value as Optuna stores it: lists become text."""
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def ask_for(trial: BaseTrial, domains: Mapping[str, Domain]) -> dict[str, Any]:
    """The trial's value of every field that is searched, given the others.

    What a trial already has stays. ``domains`` come with conditions first (``spaces.ordered``).
    """
    values: dict[str, Any] = {}
    for name, domain in domains.items():
        if searched(domain, values):
            values[name] = _suggested(trial, name, domain)
    return values


def _suggested(trial: BaseTrial, name: str, domain: Domain) -> Any:
    if isinstance(domain, Choice):
        known = {to_optuna(value): value for value in domain.values}
        return known[trial.suggest_categorical(name, list(known))]
    low, high, log = domain.minimum, domain.maximum, domain.scale == "log"
    if domain.integer:
        return trial.suggest_int(name, int(low), int(high), log=log)
    return trial.suggest_float(name, low, high, log=log)


def check_space(study: Study, domains: Mapping[str, Domain]) -> None:
    """Raises FieldError where earlier trials searched a field in a way that does not go with now.

    Ranges may have moved; choices and scales must be what they were, or no model fits them all.
    """
    for trial in study.get_trials(deepcopy=False):
        for name, earlier in trial.distributions.items():
            if name not in domains:
                continue
            try:
                check_distribution_compatibility(earlier, distribution(domains[name]))
            except ValueError:
                raise FieldError(
                    f"space.{name}",
                    f"is {domains[name]}, while earlier trials of this study searched {earlier}; "
                    "allowed: the same choices and scale, or a study file of another name",
                ) from None


def enqueue(study: Study, points: Sequence[Mapping[str, Any]]) -> None:
    """Have points tried before the sampler's own; those that were queued before are not again."""
    for point in points:
        params = {name: to_optuna(value) for name, value in point.items()}
        study.enqueue_trial(params, skip_if_exists=True)
