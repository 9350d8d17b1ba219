"""``compare``: two cells' predictions on the same images, and what cannot be compared."""

from pathlib import Path

import numpy as np
import pytest
from small import small_dataset, small_recipe
from typer.testing import CliRunner

from simclr_lab.cell import CellRecord, Outcome, State
from simclr_lab.cli import compare
from simclr_lab.cli.app import app
from simclr_lab.tracking.home import tracking_uri
from simclr_lab.tracking.mlflow_runs import MlflowRuns

DATASET = small_dataset()


def cell(key: str, seed: int) -> CellRecord:
    return CellRecord(
        key=key,
        seed=seed,
        state=State.FINISHED,
        recipe=small_recipe().flat(),
        scale="demo",
        data_digest="d",
        method_version=1,
        outcome=Outcome.OK,
    )


@pytest.fixture
def two_cells(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first wrong on its first 100 images, the second on those and on 400 more."""
    monkeypatch.setattr(compare, "require_dataset", lambda name: DATASET)
    runs = MlflowRuns(tracking_uri())
    for key, wrong in (("aaaa1111", 100), ("bbbb2222", 500)):
        predicted = DATASET.test_labels.astype(np.int16)
        predicted[:wrong] = (predicted[:wrong] + 1) % 10
        runs.start(cell(key, seed=0))
        runs.keep(key, {"linear/test_predictions": predicted})
        runs.finish(cell(key, seed=0))


def test_what_it_says(two_cells: None) -> None:
    result = CliRunner().invoke(app, ["compare", "aaaa", "bbbb2222"])
    assert result.exit_code == 0, result.output
    assert "aaaa1111 seed 0  99.00% right" in result.output
    assert "bbbb2222 seed 0  95.00% right" in result.output
    assert "only the first is right on 400 of 10000 images, only the second on 0" in result.output
    assert "p = 0.00001" in result.output


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["aaaa", "cccc"], "'cccc', which names no cell"),
        (["", "aaaa"], "which names no cell"),
        (["aaaa", "bbbb", "--protocol", "knn"], "keeps no predictions; allowed: linear"),
    ],
)
def test_what_cannot_be_compared(two_cells: None, arguments: list[str], hint: str) -> None:
    result = CliRunner().invoke(app, ["compare", *arguments])
    assert result.exit_code == 2
    assert hint in result.stderr
