"""Writing records sparingly: few calls a cell, none that grows with the study, nothing left out."""

from dataclasses import replace

import pytest
from mlflow.tracking import MlflowClient
from tracking_records import FINISHED, KEY, record

from simclr_lab.cell import State, StudyCell, StudyRecord
from simclr_lab.tracking import schema
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.mlflow_runs import MAX_TAG, MlflowRuns

STUDY = StudyRecord("sweep", "demo", "sweep", "linear/val_top1")


@pytest.fixture
def runs(own_home) -> MlflowRuns:
    return MlflowRuns(Ledger().tracking_uri, diff="+x = 1\n")


def place(number: int, arm: str = "") -> StudyCell:
    return StudyCell(f"{number:020x}", arm or f"loss.temperature=0.{number}", 0)


def listed() -> list[StudyCell]:
    found = Ledger().study("sweep", "demo")
    assert found is not None
    return list(found.cells)


@pytest.mark.parametrize("lost", ["log_batch", "create_run"])
def test_a_creation_that_is_cut_short_is_completed(
    runs: MlflowRuns, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    honest = getattr(runs.client, lost)

    def cut_short(*arguments, **named):
        if lost == "create_run":  # it was made, and the answer did not arrive
            honest(*arguments, **named)
        raise ConnectionError("away")

    monkeypatch.setattr(runs.client, lost, cut_short)
    with pytest.raises(ConnectionError):
        runs.start(record())
    monkeypatch.setattr(runs.client, lost, honest)
    run_id = runs.start(record())
    runs.finish(replace(record(), **FINISHED))
    (found,) = Ledger().cells().values()
    assert (found.run_id, found.state) == (run_id, State.FINISHED)
    assert found.recipe.keys() == record().recipe.keys()
    assert Ledger().text(run_id, schema.ARTIFACT_DIFF) == "+x = 1\n"
    assert "loss.temperature" in Ledger().text(run_id, schema.ARTIFACT_RECIPE)
    assert len(list(runs.search({schema.TAG_KEY: KEY}))) == 1


def test_a_new_cell_takes_few_calls(runs: MlflowRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.experiment("demo")
    calls: list[str] = []
    for name in ("search_runs", "create_run", "log_batch", "update_run", "get_run", "set_tag"):
        honest = getattr(MlflowClient, name)

        def counted(self, *arguments, name=name, honest=honest, **named):
            calls.append(name)
            return honest(self, *arguments, **named)

        monkeypatch.setattr(MlflowClient, name, counted)
    runs.start(record())
    assert calls == ["search_runs", "create_run", "log_batch"]
    calls.clear()
    runs.finish(replace(record(), **FINISHED))
    assert calls == ["log_batch"]


def test_a_cell_that_is_started_again_says_everything_again(runs: MlflowRuns) -> None:
    runs.start(record())
    Ledger().mark_unfinished([KEY])  # by somebody else
    runs.start(record())
    (found,) = Ledger().cells().values()
    assert found.state is State.RUNNING
    assert runs.client.get_run(found.run_id).info.status == "RUNNING"


def test_cells_that_a_sweep_adds_are_listed_in_their_order(runs: MlflowRuns) -> None:
    first = replace(STUDY, cells=(place(5),))
    run_id = runs.open_study(first)
    before = Ledger().text(run_id, schema.ARTIFACT_CELLS)
    for number, cell in enumerate((place(9), place(2), place(7)), start=2):
        runs.add_cell(first, cell, number)
        runs.add_cell(first, cell, number)
    assert listed() == [place(5), place(9), place(2), place(7)]
    assert Ledger().text(run_id, schema.ARTIFACT_CELLS) == before
    MlflowRuns(Ledger().tracking_uri).open_study(replace(STUDY, cells=(place(1),)))
    assert listed() == [place(5), place(9), place(2), place(7), place(1)]


@pytest.mark.parametrize("arm", ["short", "x" * MAX_TAG])
def test_a_cell_of_a_study_that_is_not_open_or_of_a_long_arm_is_listed(
    runs: MlflowRuns, arm: str
) -> None:
    runs.add_cell(STUDY, place(1), 1)
    runs.add_cell(STUDY, place(2, arm), 2)
    assert listed() == [place(1), place(2, arm)]
