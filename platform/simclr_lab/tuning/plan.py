"""Plan first: a study's cells against what the ledger knows, before anything is launched."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from simclr_lab.cell import CellRecord, State, StudyCell
from simclr_lab.identity import METHOD_VERSION, cell_key, evaluation_key
from simclr_lab.recipe import Recipe
from simclr_lab.tuning.sizes import Sizing, fitting_workers

ONE_WORKER = Sizing()


class Action(StrEnum):
    """What a launch does about a cell."""

    RUN = "run"
    CONTINUE = "continue"
    EVALUATE = "evaluate only"
    REUSE = "reuse"
    FAILED = "failed"


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a study with what is to be done about it, and how large it is.

    ``threads`` are those of each worker; None: what the cluster gives it. ``gpu_share`` is the part
    of a GPU that a cell of one worker holds.
    """

    key: str
    arm: str
    seed: int
    recipe: Recipe
    action: Action
    workers: int = 1
    attempt: int = 0
    threads: int | None = None
    gpu_share: Fraction = Fraction(1)

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
    sizing: Sizing = ONE_WORKER,
    retry_failed: bool = False,
    force: bool = False,
    newest_attempt: Callable[[str], int] = lambda key: 0,
) -> PlannedCell:
    """Decide about one cell.

    Args:
        replicate: the arm and its seed.
        known: key -> what the ledger knows.
        data_digest: digest of the dataset.
        sizing: how large new cells are; a continued one keeps its workers and threads.
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
    workers, threads = sizing.workers_of(recipe), sizing.threads
    if record is not None and record.world_size and record.state is not State.FINISHED:
        # A continued cell keeps its world size and its threads, hence its bits.
        workers, threads = fitting_workers(recipe, record.world_size), record.threads or threads
    return PlannedCell(
        key=key,
        arm=replicate.arm,
        seed=replicate.seed,
        recipe=recipe,
        action=action,
        workers=workers,
        attempt=attempt,
        threads=threads,
        gpu_share=sizing.gpu_share,
    )


def plan_cells(
    replicates: Iterable[Replicate],
    known: Mapping[str, CellRecord],
    *,
    data_digest: str,
    sizing: Sizing = ONE_WORKER,
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
            sizing=sizing,
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


def reference_replicates(base: Recipe, seeds: Sequence[int]) -> list[Replicate]:
    """The two rows without pretraining: raw pixels, and the encoder at its initial weights."""
    pixels = base.with_fields({"encoder.kind": "raw_pixels"})
    random = base.with_fields({"epochs": 0})
    rows = [Replicate("random encoder", seed, random) for seed in seeds]
    return [Replicate("raw pixels", seeds[0], pixels), *rows]
