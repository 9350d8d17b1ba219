"""``simclr-lab replay``: a finished cell run again beside its record, and both compared."""

from dataclasses import replace

import typer

from simclr_lab.cell import CellRecord, State, StudyRecord
from simclr_lab.cli.data import require_dataset
from simclr_lab.cli.exits import Exit, leave, output, unfit_is_exit_4
from simclr_lab.cli.keys import one_cell
from simclr_lab.cli.launch import Launch
from simclr_lab.data.sources import dataset_digest
from simclr_lab.fields import FieldError
from simclr_lab.identity import METHOD_VERSION, cell_key
from simclr_lab.recipe import Recipe
from simclr_lab.tracking import schema
from simclr_lab.tracking.comparison import Comparison, Verdict, compare
from simclr_lab.tracking.home import storage
from simclr_lab.tracking.lease import Lease
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.training.attempts import newest_attempt
from simclr_lab.training.checkpoint import CellStore, state_digest
from simclr_lab.tuning.plan import Action, PlannedCell
from simclr_lab.tuning.source import AblationSource


def replay_cell(start_of_key: str, *, diff: bool) -> None:
    """Run a cell again as a new attempt and say how it compares; exits 1 if it differs."""
    with unfit_is_exit_4():
        ledger = Ledger()
        ledger.reachable(write=True)
        original = _with_digest(one_cell(ledger, start_of_key))
        cell = _planned(ledger, original)
        launch = Launch(
            StudyRecord("replay", original.scale, "replay", _metric(original)),
            ledger,
            cell.recipe.data.dataset,
            diff=diff,
            replay_of=original.run_id,
        )
        progress = launch.run(AblationSource([cell], launch.surroundings()), reused=0)
        if progress.failed:
            leave(
                Exit.CELLS_FAILED, f"The replay of {original.key} failed; its run has the reason."
            )
        replayed = next(r for r in ledger.replays(original.key) if r.attempt == cell.attempt)
        images = len(require_dataset(cell.recipe.data.dataset).test_images)
        found = compare(original, replayed, images)
        assert replayed.run_id is not None
        ledger.runs_client.tag(replayed.run_id, {schema.TAG_VERDICT: found.verdict.value})
    _show(original, replayed, found)
    raise typer.Exit(Exit.CELLS_FAILED if found.verdict is Verdict.DIFFERENT else Exit.DONE)


def _planned(ledger: Ledger, original: CellRecord) -> PlannedCell:
    """The cell as a new attempt, or as the attempt of a replay that was interrupted."""
    if original.state is not State.FINISHED:
        leave(Exit.BAD_INPUT, f"{original.key} is {original.state}; allowed: a finished cell")
    try:
        recipe = Recipe().with_fields(original.recipe)
        digest = dataset_digest(recipe.data.dataset)
        key = cell_key(recipe, original.seed, digest)
    except FieldError as error:
        leave(Exit.BAD_INPUT, f"{original.key} is a recipe that this version does not run: {error}")
    if key != original.key:
        leave(
            Exit.BAD_INPUT,
            f"{original.key} is of method version {original.method_version} and data "
            f"{original.data_digest[:12]}; here they are {METHOD_VERSION} and {digest[:12]}, which "
            "is another cell",
        )
    lease = Lease(f"cell-{key}")
    if not lease.acquire():
        leave(Exit.STOPPED, f"{key} is running: {lease.owner() or 'owner unknown'}.")
    lease.release()
    return PlannedCell(
        key=key,
        arm="replay",
        seed=original.seed,
        recipe=recipe,
        action=Action.RUN,
        workers=original.world_size or 1,
        attempt=_attempt(ledger, original),
        threads=original.threads,
    )


def _attempt(ledger: Ledger, original: CellRecord) -> int:
    for replay in ledger.replays(original.key):
        interrupted = replay.state in (State.RUNNING, State.UNFINISHED)
        if interrupted and replay.replay_of == original.run_id:
            return replay.attempt
    return max(original.last_attempt, newest_attempt(storage(), original.key)) + 1


def _with_digest(record: CellRecord) -> CellRecord:
    """The record with its encoder's digest, from the kept encoder where it was recorded without."""
    if record.encoder_sha256 is not None or record.elsewhere:
        return record
    final = CellStore(storage(), record.key, record.attempt).load_final()
    return (
        record if final is None else replace(record, encoder_sha256=state_digest(final["encoder"]))
    )


def _metric(record: CellRecord) -> str:
    return next((n for n in record.metrics if schema.is_test_metric(n)), "linear/test_top1")


def _show(original: CellRecord, replayed: CellRecord, found: Comparison) -> None:
    output.print(f"{found.verdict}: {original.key} and its replay, run {replayed.run_id}")
    if found.interval is not None:
        low, high = found.interval
        output.print(
            f"{found.metric}: {found.original:.2f}, replayed {found.replayed:.2f}; bootstrap "
            f"interval of the test images {low:.2f} to {high:.2f}"
        )
    changed = [
        f"{name} {original.tags[name]}, now {value}"
        for name, value in sorted(replayed.tags.items())
        if name in original.tags and original.tags[name] != value
    ]
    if found.verdict is not Verdict.IDENTICAL and changed:
        output.print("what changed: " + "; ".join(changed), markup=False)
