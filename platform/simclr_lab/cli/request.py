"""What a user asks ``simclr-lab run`` for, read and checked before anything is launched."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simclr_lab.cli.notify import parse_command
from simclr_lab.cli.prices import Prices, load_prices
from simclr_lab.cli.targets import target_datasets
from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.recipes import named_recipe
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.spaces.files import Study, load_study
from simclr_lab.spaces.tree import toml_value
from simclr_lab.tuning.plan import ONE_WORKER
from simclr_lab.tuning.sizes import Sizing, parse_sizing

MAX_SEEDS = 1000
MAX_SCALE_NAME = 150
"""Longer ones become a digest: names of files and of experiments end at 255 characters."""
ONE_ARM = Ablation(
    file=Path("pretrain"), text="", metric="linear/val_top1", seeds=(0,), references=False
)
"""What ``simclr-lab pretrain`` runs: a scale as it is."""


@dataclass(frozen=True)
class Request:
    """The command line, as it was typed."""

    path: Path | None  # None: the scale itself, as a study of one arm
    scale: str
    assignments: tuple[str, ...] = ()
    seeds: str | None = None
    workers: str = "1"
    images_per_worker: int | None = None
    cpus_per_worker: int | None = None
    gpu_fraction: str = "1"
    retry_failed: bool = False
    dry_run: bool = False
    force: bool = False
    diff: bool = True
    probe: bool | None = None  # measure shapes that have not run here; None: when launching
    prices: Path | None = None
    max_cells: int | None = None
    max_hours: float | None = None
    max_worker_hours: float | None = None
    as_json: bool = False
    notify: str | None = None

    @property
    def probes(self) -> bool:
        """Whether shapes that have not run here are measured first; a dry run stays instant."""
        return not self.dry_run if self.probe is None else self.probe


@dataclass(frozen=True)
class Checked:
    """A study laid over a scale, valid in every word; ``base`` is the scale's recipe."""

    request: Request
    study: Study
    base: Recipe
    seeds: tuple[int, ...]
    targets: tuple[str, ...] = ()  # datasets that encoders are transferred to
    sizing: Sizing = ONE_WORKER
    prices: Prices | None = None
    notify: tuple[str, ...] = ()  # a command and its arguments

    @property
    def scale(self) -> str:
        """The scale's name, with what ``--set`` changed: records of both must not be mixed."""
        return scale_name(self.request.scale, self.request.assignments)


def scale_name(scale: str, assignments: tuple[str, ...]) -> str:
    """A scale's name in the ledger, with what ``--set`` changed."""
    name = "+".join([scale, *sorted(assignments)])
    if len(name) <= MAX_SCALE_NAME:
        return name
    return f"{scale}+{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def check(request: Request) -> Checked:
    """Read the study file and lay it over the scale.

    Raises StudyError or FieldError, which name the file or the field.
    """
    prices = load_prices(request.prices) if request.prices is not None else None
    notify = parse_command(request.notify) if request.notify is not None else ()
    _check_hours(request)
    base = named_recipe(request.scale).with_fields(parse_assignments(request.assignments))
    study = ONE_ARM if request.path is None else load_study(request.path)
    study.check(base, request.scale)
    seeds = study.seeds_at(request.scale)
    if request.seeds is not None:
        seeds = parse_seeds(request.seeds)
        if isinstance(study, Ablation):
            study.check_seeds(seeds, base, request.scale)
    targets = _targets(study, base, request.scale)
    sizing = parse_sizing(
        request.workers, request.images_per_worker, request.cpus_per_worker, request.gpu_fraction
    )
    return Checked(request, study, base, seeds, targets, sizing, prices, notify)


def _check_hours(request: Request) -> None:
    given = {"--max-hours": request.max_hours, "--max-worker-hours": request.max_worker_hours}
    for option, hours in given.items():
        if hours is not None and not (math.isfinite(hours) and hours > 0):
            raise FieldError(option, f"is {hours}; allowed: hours, more than 0")


def _targets(study: Study, base: Recipe, scale: str) -> tuple[str, ...]:
    if isinstance(study, Ablation):
        recipes = [arm.recipe for arm in study.arms(base, scale)]
    else:
        recipes = [study.base_at(base, scale)]
    with study.errors():
        return target_datasets(recipes, study.metric)


def parse_assignments(assignments: tuple[str, ...]) -> dict[str, Any]:
    """``field=value`` with values as in TOML; a bare word is text."""
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise FieldError("--set", f"is {assignment!r}; allowed: field=value")
        changes[name.strip()] = toml_value(text.strip())
    return changes


def parse_seeds(text: str) -> tuple[int, ...]:
    """``0..4`` (both ends included) or ``0,1,2``."""
    try:
        if ".." in text:
            first, last = (int(part) for part in text.split(".."))
            seeds = tuple(range(first, min(last, first + MAX_SEEDS) + 1))
        else:
            seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds) or len(seeds) > MAX_SEEDS:
        raise FieldError(
            "--seeds",
            f"is {text!r}; allowed: 0..4 or 0,1,2, different and not negative, at most {MAX_SEEDS}",
        )
    return seeds
