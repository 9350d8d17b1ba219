"""Cells that fail by themselves: the others do not notice, and the record says what happened."""

import pytest
from faults.lab import Lab, Undisturbed
from faults.studies import alone
from ray_commands import metrics

from simclr_lab.cell import Outcome, State

pytestmark = [
    pytest.mark.faults,
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.network,
    pytest.mark.timeout(600),
]


def test_an_exception_in_one_recipe(lab: Lab, undisturbed: Undisturbed) -> None:
    key = min(metrics(undisturbed.lab.home).keys() & _keys(lab, undisturbed))
    switch = lab.switch(f"raise-{key}")
    code, output = lab.run(alone(lab.folder))
    assert code == 1, output
    record = lab.ledger.cells()[key]
    assert record.state is State.FAILED
    assert record.reason == "RuntimeError: injected by the test"
    assert "1 done, 0 running, 1 failed" in output
    switch.unlink()
    code, output = lab.run(alone(lab.folder))
    assert code == 1, "a failed cell is run again on request only"
    lab.until_done([*alone(lab.folder), "--retry-failed"], launches=1)
    lab.assert_sound(undisturbed.lab)


def test_a_loss_that_is_not_a_number(lab: Lab, undisturbed: Undisturbed) -> None:
    """A result: recorded as diverged, not run again, and the cell beside it is untouched."""
    arguments = alone(lab.folder, 0.1, 1e-40)
    code, output = lab.run(arguments)
    assert code == 0, output
    cells = lab.ledger.cells()
    assert {cell.state for cell in cells.values()} == {State.FINISHED}
    outcomes = {cell.recipe["loss.temperature"]: cell.outcome for cell in cells.values()}
    assert outcomes[1e-40] is Outcome.DIVERGED
    assert outcomes[0.1] is Outcome.OK
    (ok,) = (key for key, cell in cells.items() if cell.outcome is Outcome.OK)
    assert metrics(lab.home)[ok] == metrics(undisturbed.lab.home)[ok]
    code, output = lab.run(arguments)
    assert code == 0, output
    assert "0 done, 0 running, 0 failed, 2 reused" in output
    lab.assert_nothing_left()


def _keys(lab: Lab, undisturbed: Undisturbed) -> set[str]:
    """Keys of the study of cells on one worker."""
    place = undisturbed.lab.ledger.studies()[0]
    assert place.study == "alone"
    return {cell.key for cell in place.cells}
