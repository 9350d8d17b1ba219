"""Plan first: a study's cells against what the ledger knows, before anything is launched."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from simclr_lab.cell import CellRecord, State, StudyCell
from simclr_lab.identity import METHOD_VERSION, cell_key, evaluation_key
from simclr_lab.recipe import Recipe


class Action(StrEnum):
    """What a launch does about a cell."""

    RUN = "run"
    CONTINUE = "continue"
    EVALUATE = "evaluate only"
    REUSE = "reuse"
    FAILED = "failed"


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a study with what is to be done about it."""

    key: str
    arm: str
    seed: int
    recipe: Recipe
    action: Action
    workers: int = 1
    attempt: int = 0

    @property
    def launches(self) -> bool:
        """Whether the cell needs a worker."""
        return self.action in (Action.RUN, Action.CONTINUE, Action.EVALUATE)

    @property
    def place(self) -> StudyCell:
        """The cell's place in its study."""
        return StudyCell(self.key, self.arm, self.seed)


@dataclass(frozen=True)
class Replicate:
    """An arm with one seed, before its key is looked up."""

    arm: str
    seed: int
    recipe: Recipe


def plan_cell(
    replicate: Replicate,
    known: Mapping[str, CellRecord],
    *,
    data_digest: str,
    workers: int = 1,
    retry_failed: bool = False,
    force: bool = False,
    newest_attempt: Callable[[str], int] = lambda key: 0,
) -> PlannedCell:
    """Decide about one cell.

    Args:
        replicate: the arm and its seed.
        known: key -> what the ledger knows.
        data_digest: digest of the dataset.
        workers: what the user asks for; see ``fitting_workers``.
        retry_failed: go on with a cell that failed.
        force: open a new attempt of a cell that is finished or failed.
        newest_attempt: key -> highest attempt that has files, whatever the ledger knows.
    """
    recipe = replicate.recipe
    key = cell_key(recipe, replicate.seed, data_digest, method_version=METHOD_VERSION)
    record = current(known.get(key), retry_failed=retry_failed)
    action = decide(record, recipe, retry_failed=retry_failed)
    if record is None:
        attempt = newest_attempt(key)
    elif (force and record.state in (State.FINISHED, State.FAILED)) or (
        record.elsewhere and action not in (Action.REUSE, Action.FAILED)
    ):
        action, attempt = Action.RUN, max(known[key].last_attempt, newest_attempt(key)) + 1
        record = None  # nothing of it is continued
    else:
        attempt = record.attempt
    if record is not None and record.world_size and record.state is not State.FINISHED:
        workers = record.world_size  # a continued cell keeps its world size, hence its bits
    return PlannedCell(
        key=key,
        arm=replicate.arm,
        seed=replicate.seed,
        recipe=recipe,
        action=action,
        workers=fitting_workers(recipe, workers),
        attempt=attempt,
    )


def plan_cells(
    replicates: Iterable[Replicate],
    known: Mapping[str, CellRecord],
    *,
    data_digest: str,
    workers: int = 1,
    retry_failed: bool = False,
    force: bool = False,
    newest_attempt: Callable[[str], int] = lambda key: 0,
) -> list[PlannedCell]:
    """Decide about every cell (see ``plan_cell``); a key that two arms share is planned once."""
    planned: dict[str, PlannedCell] = {}
    for replicate in replicates:
        cell = plan_cell(
            replicate,
            known,
            data_digest=data_digest,
            workers=workers,
            retry_failed=retry_failed,
            force=force,
            newest_attempt=newest_attempt,
        )
        planned.setdefault(cell.key, cell)
    return list(planned.values())


def current(record: CellRecord | None, *, retry_failed: bool = False) -> CellRecord | None:
    """The attempt that a launch works on: a reopened one, unless it failed and is left at that."""
    later = record.reopened if record is not None else None
    if later is None or later.elsewhere or (later.state is State.FAILED and not retry_failed):
        return record
    return later


def decide(record: CellRecord | None, recipe: Recipe, *, retry_failed: bool = False) -> Action:
    """What a launch does about a cell of which ``record`` is known."""
    if record is None or record.state is State.MISSING:
        return Action.RUN
    if record.state is State.FINISHED:
        wanted = {p: evaluation_key(recipe, p) for p in recipe.evaluation.protocols}
        lacking = any(record.evaluations.get(p) != key for p, key in wanted.items())
        return Action.EVALUATE if lacking and record.outcome != "diverged" else Action.REUSE
    if record.state is State.FAILED and not retry_failed:
        return Action.FAILED
    return Action.CONTINUE


def fitting_workers(recipe: Recipe, wanted: int) -> int:
    """The largest number of workers up to ``wanted`` that the recipe's batch can be cut for.

    Workers divide the batch, and hold or share whole groups of batch norm.
    """
    if not recipe.trains:
        return 1
    group = recipe.batch_norm.group_images
    whole = recipe.batch_size if group == "whole" else group
    micro = recipe.compute.micro_batch_size

    def fits(workers: int) -> bool:
        local = recipe.batch_size // workers
        if recipe.batch_size % workers or (micro != "whole" and local % micro):
            return False
        return local % whole == 0 or whole % local == 0

    return max(n for n in range(1, max(wanted, 1) + 1) if fits(n))


def reference_replicates(base: Recipe, seeds: Sequence[int]) -> list[Replicate]:
    """The two rows without pretraining: raw pixels, and the encoder at its initial weights."""
    pixels = base.with_fields({"encoder.kind": "raw_pixels"})
    random = base.with_fields({"epochs": 0})
    rows = [Replicate("random encoder", seed, random) for seed in seeds]
    return [Replicate("raw pixels", seeds[0], pixels), *rows]
