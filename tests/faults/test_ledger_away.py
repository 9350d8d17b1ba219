"""The MLflow server goes away and comes back: cells that run go on, none starts meanwhile."""

import random
import time
from collections.abc import Callable

import pytest
from faults.lab import Lab, Undisturbed, some_time
from faults.nearby import MlflowServer
from faults.studies import alone, four

pytestmark = [
    pytest.mark.faults,
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.network,
    pytest.mark.timeout(600),
]
AWAY_SECONDS = 20.0


def test_the_ledger_is_away_for_twenty_seconds(
    lab: Lab,
    undisturbed: Undisturbed,
    server: MlflowServer,
    moments: random.Random,
    took: Callable[..., None],
) -> None:
    command = lab.start(four(lab.folder))
    command.wait_for("started")
    some_time(moments, 1.0)
    server.kill()
    ended = command.output().count("finished")
    time.sleep(AWAY_SECONDS)
    output = command.output()
    assert command.process.poll() is None, output
    assert output.count("reported") > 0, "running cells go on"
    assert output.count("started") <= ended + 2, "no cell starts without a ledger"
    server.start()
    code, output = command.finish()
    assert code == 0, output
    took("alone", "four")
    lab.assert_sound(undisturbed.lab)


def test_without_a_ledger_nothing_is_launched(lab: Lab, server: MlflowServer) -> None:
    server.kill()
    code, output = lab.run(alone(lab.folder))
    assert code == 4, output
    assert server.uri in output
    assert "started" not in output
