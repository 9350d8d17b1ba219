"""The canary of METHOD_VERSION: what six recipes compute in three steps.

When a value moves by more than 1e-5, cells recorded before and after can no longer share a key:
find out what changed and mend it, or raise METHOD_VERSION in identity.py and record the new values
(``PYTHONPATH=tests python tests/canary.py``).
"""

import json
from pathlib import Path

import pytest
from canary import RECIPES, measure

from simclr_lab.identity import METHOD_VERSION

PINNED = json.loads((Path(__file__).parent / "canary.json").read_text())


def test_the_values_belong_to_this_version() -> None:
    assert PINNED["method_version"] == METHOD_VERSION
    assert set(PINNED["values"]) == set(RECIPES)
    assert len(RECIPES) == 6


@pytest.mark.parametrize("name", RECIPES)
def test_losses_and_weights_after_three_steps(name: str) -> None:
    measured = measure(RECIPES[name])
    for part, value in PINNED["values"][name].items():
        assert measured[part] == pytest.approx(value, rel=1e-5), (
            f"{part} of {name} moved: raise METHOD_VERSION, or mend what changed"
        )
