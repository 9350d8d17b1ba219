"""Records as tests of the ledger write them."""

from typing import Any

from simclr_lab.cell import CellRecord, Outcome, State
from simclr_lab.recipes import named_recipe

KEY = "a" * 20
FINISHED: dict[str, Any] = {
    "state": State.FINISHED,
    "outcome": Outcome.OK,
    "evaluations": {"linear": "e1"},
    "metrics": {"linear/test_top1": 40.0},
}


def record(**changes: Any) -> CellRecord:
    """A running cell of the demo recipe."""
    fields: dict[str, Any] = {
        "key": KEY,
        "seed": 0,
        "state": State.RUNNING,
        "recipe": named_recipe("demo").flat(),
        "scale": "demo",
        "data_digest": "d" * 64,
        "method_version": 1,
        "world_size": 1,
        "threads": 1,
        "tags": {"hardware": "a machine", "version.torch": "2", "owner": "somebody"},
    }
    return CellRecord(**fields | changes)
