"""The plan: what is run, continued, evaluated, reused, and on how many workers."""

from fractions import Fraction

from simclr_lab.cell import CellRecord, Outcome, State
from simclr_lab.identity import evaluation_key
from simclr_lab.recipes import named_recipe
from simclr_lab.tuning.plan import (
    Action,
    Replicate,
    plan_cell,
    plan_cells,
    reference_replicates,
)
from simclr_lab.tuning.sizes import Sizing

RECIPE = named_recipe("laptop")
DIGEST = "d" * 64


def record(state: State, **changes: object) -> CellRecord:
    key = plan_cell(Replicate("a", 0, RECIPE), {}, data_digest=DIGEST).key
    evaluations = {p: evaluation_key(RECIPE, p) for p in RECIPE.evaluation.protocols}
    given = {"evaluations": evaluations, "outcome": Outcome.OK} | changes
    return CellRecord(key, 0, state, RECIPE.flat(), "laptop", DIGEST, 1, **given)


def action(known: CellRecord | None, **options: object) -> Action:
    ledger = {known.key: known} if known else {}
    return plan_cell(Replicate("a", 0, RECIPE), ledger, data_digest=DIGEST, **options).action


def test_what_is_done_about_each_state() -> None:
    assert action(None) is Action.RUN
    assert action(record(State.RUNNING)) is Action.CONTINUE
    assert action(record(State.UNFINISHED)) is Action.CONTINUE
    assert action(record(State.PRUNED)) is Action.CONTINUE
    assert action(record(State.FINISHED)) is Action.REUSE
    assert action(record(State.FAILED)) is Action.FAILED
    assert action(record(State.FAILED), retry_failed=True) is Action.CONTINUE


def test_a_finished_cell_that_lacks_an_evaluation_is_only_evaluated() -> None:
    assert action(record(State.FINISHED, evaluations={})) is Action.EVALUATE
    diverged = record(State.FINISHED, evaluations={}, outcome=Outcome.DIVERGED)
    assert action(diverged) is Action.REUSE


def planned(known: CellRecord | None, **options: object) -> tuple[Action, int, int]:
    ledger = {known.key: known} if known else {}
    cell = plan_cell(Replicate("a", 0, RECIPE), ledger, data_digest=DIGEST, **options)
    return cell.action, cell.attempt, cell.workers


def test_force_opens_a_new_attempt_of_what_has_an_end() -> None:
    finished = record(State.FINISHED, attempt=1, last_attempt=3, world_size=2)
    assert planned(finished, force=True) == (Action.RUN, 4, 1)  # nothing of it is continued
    assert planned(finished, force=True, newest_attempt=lambda key: 7) == (Action.RUN, 8, 1)
    assert planned(record(State.FAILED), force=True)[:2] == (Action.RUN, 1)
    assert planned(record(State.UNFINISHED, attempt=1), force=True)[:2] == (Action.CONTINUE, 1)
    assert planned(None, force=True)[:2] == (Action.RUN, 0)


def test_a_plain_launch_goes_on_with_an_attempt_that_was_interrupted() -> None:
    later = record(State.UNFINISHED, attempt=1, world_size=2)
    finished = record(State.FINISHED, reopened=later, last_attempt=1)
    assert planned(finished) == (Action.CONTINUE, 1, 2)
    assert planned(finished, force=True) == (Action.CONTINUE, 1, 2)
    failed = record(State.FINISHED, reopened=record(State.FAILED, attempt=1), last_attempt=1)
    assert planned(failed)[:2] == (Action.REUSE, 0)
    assert planned(failed, retry_failed=True)[:2] == (Action.CONTINUE, 1)


def test_files_that_the_ledger_does_not_know_are_gone_on_with() -> None:
    assert planned(None, newest_attempt=lambda key: 2)[:2] == (Action.RUN, 2)


def test_a_continued_cell_keeps_its_world_size() -> None:
    known = record(State.UNFINISHED, world_size=2)
    cell = plan_cell(Replicate("a", 0, RECIPE), {known.key: known}, data_digest=DIGEST)
    assert cell.workers == 2


def test_a_continued_cell_keeps_its_threads_and_a_new_one_takes_what_is_asked() -> None:
    sizing = Sizing(threads=4, gpu_share=Fraction(1, 2))
    known = record(State.UNFINISHED, world_size=1, threads=2)

    def threads(ledger: dict[str, CellRecord]) -> tuple[int | None, Fraction]:
        replicate = Replicate("a", 0, RECIPE)
        cell = plan_cell(replicate, ledger, data_digest=DIGEST, sizing=sizing)
        return cell.threads, cell.gpu_share

    assert threads({known.key: known}) == (2, Fraction(1, 2))
    assert threads({}) == (4, Fraction(1, 2))
    old = record(State.UNFINISHED, world_size=1)  # recorded without
    assert threads({old.key: old}) == (4, Fraction(1, 2))


def test_no_size_is_part_of_the_key() -> None:
    sizings = [Sizing(), Sizing(4), Sizing(None, 16), Sizing(threads=3, gpu_share=Fraction(1, 4))]
    cells = [plan_cell(Replicate("a", 0, RECIPE), {}, data_digest="d", sizing=s) for s in sizings]
    assert len({cell.key for cell in cells}) == 1
    assert [cell.workers for cell in cells] == [1, 4, RECIPE.batch_size // 16, 1]


def test_a_key_that_two_arms_share_is_planned_once() -> None:
    cells = plan_cells([Replicate("a", 0, RECIPE), Replicate("b", 0, RECIPE)], {}, data_digest="d")
    assert [cell.arm for cell in cells] == ["a"]


def test_reference_rows_do_not_train() -> None:
    rows = reference_replicates(RECIPE, [3, 4])
    assert [(row.arm, row.seed) for row in rows] == [
        ("raw pixels", 3),
        ("random encoder", 3),
        ("random encoder", 4),
    ]
    assert not any(row.recipe.trains for row in rows)
