"""A node that is lost while a cell computes on it: it comes back, or it does not."""

import random
from collections.abc import Callable

import pytest
from faults.lab import Lab, Undisturbed, some_time
from faults.studies import pair

from simclr_lab.cell import State

pytestmark = [
    pytest.mark.faults,
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.network,
    pytest.mark.timeout(600),
]


def test_a_node_is_lost_and_comes_back(
    lab: Lab, undisturbed: Undisturbed, moments: random.Random, took: Callable[..., None]
) -> None:
    command = lab.start(pair(lab.folder))
    command.wait_for("started")
    some_time(moments, 1.0)
    lab.cluster.kill_second()
    lab.cluster.add_second()
    code, output = command.finish()
    assert code == 0, output
    took("pair")
    lab.assert_sound(undisturbed.lab)


def test_a_node_is_lost_for_good(
    lab: Lab, undisturbed: Undisturbed, moments: random.Random
) -> None:
    """The command gives up by itself and names the cell; with a node it goes on."""
    lab.settings["SIMCLR_LAB_STUCK_MINUTES"] = "1"
    command = lab.start(pair(lab.folder))
    command.wait_for("started")
    some_time(moments, 1.0)
    lab.cluster.kill_second()
    code, output = command.finish()
    assert code == 4, output
    (key,) = lab.ledger.cells()
    assert "Nothing has run for" in output
    assert f"{key} (2 workers)" in output
    assert lab.ledger.cells()[key].state is State.UNFINISHED
    lab.cluster.add_second()
    del lab.settings["SIMCLR_LAB_STUCK_MINUTES"]
    lab.until_done(pair(lab.folder))
    lab.assert_sound(undisturbed.lab)
