"""A group that is told to leave: every rank at the same epoch's end, nothing lost."""

from pathlib import Path

import pytest
from distributed import run_workers
from small import small_recipe
from workers import cell_with_a_stop

from simclr_lab.training.checkpoint import CellStore

RECIPE = small_recipe(epochs=4, evaluation__protocols=["ridge"], optimizer__name="sgd")


@pytest.mark.slow
def test_ranks_leave_together_and_the_cell_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    whole = run_workers(cell_with_a_stop, 2, str(tmp_path / "whole"), RECIPE, None)
    left = run_workers(cell_with_a_stop, 2, str(tmp_path / "cut"), RECIPE, 2)
    second_epoch = whole[0][1][2][1]
    assert [steps for steps, _ in left] == [second_epoch] * 2
    assert second_epoch < whole[0][0]
    store = CellStore(tmp_path / "cut", "key")
    assert store.load_final() is None
    state = store.load_checkpoint()
    assert state is not None
    assert state["training"]["step"] == second_epoch
    rest = run_workers(cell_with_a_stop, 2, str(tmp_path / "cut"), RECIPE, None)
    (_, before), (_, after), (_, undisturbed) = left[0], rest[0], whole[0]
    assert [name for name, *_ in before] == ["CellStarted", "CellEpoch", "CellEpoch"]
    assert after[-1][0] == "CellEnded"
    told = [each for each in before + after if each[0] == "CellEpoch"]
    assert told == [each for each in undisturbed if each[0] == "CellEpoch"]
    assert [told for _, told in (*left[1:], *rest[1:])] == [
        [("CellStarted", 0, {})],
        [("CellStarted", 0, {})],
    ]
