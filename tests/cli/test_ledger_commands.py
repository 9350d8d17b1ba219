"""Commands on the ledger as users type them: what they print, and how they end."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from tracking_records import FINISHED, KEY, record
from typer.testing import CliRunner, Result

from simclr_lab.cell import State, StudyCell, StudyRecord
from simclr_lab.cli.app import app
from simclr_lab.tracking import home, schema
from simclr_lab.tracking.lease import Lease
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.mlflow_runs import MlflowRuns
from simclr_lab.tuning.optuna_study import open_study

OTHER = "b" * 20


def command(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def ledger(own_home: Path) -> Ledger:
    """A sweep of two finished cells with files, in Optuna's journal too."""
    runs = MlflowRuns(Ledger().tracking_uri)
    for key in (KEY, OTHER):
        runs.start(record(key=key))
        runs.finish(replace(record(key=key), **FINISHED))
        folder = home.storage() / "cells" / key / "0"
        folder.mkdir(parents=True)
        (folder / "final.pt").write_bytes(b"x" * 1000)
    cells = tuple(StudyCell(key, "arm", 0) for key in (KEY, OTHER))
    runs.open_study(StudyRecord("search", "demo", "sweep", "linear/val_top1", cells))
    for name in ("search@demo", "search@laptop"):
        open_study(home.journal(), name)
    return Ledger()


def sweeps() -> list[str]:
    return optuna.get_all_study_names(JournalStorage(JournalFileBackend(str(home.journal()))))


def test_forget_says_first_what_would_go(ledger: Ledger) -> None:
    text = command("forget", "search", "--scale", "demo", "--dry-run").stdout
    assert "would be forgotten: 2 cells, 2,000 bytes" in text
    assert set(Ledger().cells()) == {KEY, OTHER}
    assert sweeps() == ["search@demo", "search@laptop"]
    assert list(home.leases().glob("cell-*")) != []


def test_forget_takes_a_sweep_with_its_trials(ledger: Ledger) -> None:
    text = command("forget", "search_spaces/sweeps/search.toml", "--scale", "demo").stdout
    assert "Optuna's trials" in text
    assert Ledger().cells() == {}
    assert Ledger().studies() == []
    assert sweeps() == ["search@laptop"]
    assert list((home.storage() / "cells").iterdir()) == []
    assert list(home.leases().iterdir()) == []
    message = command("forget", "search", "--scale", "demo", code=2).stderr
    assert "no study 'search' at scale 'demo'" in message


def test_forget_takes_one_cell_by_the_beginning_of_its_key(ledger: Ledger) -> None:
    text = command("forget", KEY[:6]).stdout
    assert "listed by search at demo" in text
    assert set(Ledger().cells()) == {OTHER}
    assert "0 recorded cells begin with it" in command("forget", KEY[:6], code=2).stderr


def test_forget_refuses_what_runs(ledger: Ledger) -> None:
    with Lease(f"cell-{OTHER}"):
        message = command("forget", "search", "--scale", "demo", code=3).stderr
    assert OTHER in message
    with Lease("study-search-demo"):
        assert "running" in command("forget", "search", "--scale", "demo", code=3).stderr
    assert set(Ledger().cells()) == {KEY, OTHER}


def test_clean_lists_and_removes(ledger: Ledger) -> None:
    rubbish = home.storage() / "cells" / KEY / "7"
    rubbish.mkdir()
    (rubbish / "final.pt").write_bytes(b"x" * 10)
    assert "removed: 0 things" in command("clean").stdout  # too young
    text = command("clean", "--older-than", "0", "--dry-run").stdout
    assert str(rubbish) in text
    assert rubbish.exists()
    assert "removed: 1 things that no record points to, 10 bytes" in (
        command("clean", "--older-than", "0").stdout
    )
    assert not rubbish.exists()
    assert (home.storage() / "cells" / KEY / "0" / "final.pt").exists()


def test_export_and_import(ledger: Ledger, tmp_path: Path, monkeypatch) -> None:
    path = str(tmp_path / "x.parquet")
    assert "2 cells, 1 studies" in command("export", path).stdout
    monkeypatch.setenv("SIMCLR_LAB_HOME", str(tmp_path / "other"))
    assert "2 cells imported, 0 known" in command("import", path).stdout
    assert "0 cells imported, 2 known" in command("import", path).stdout
    assert "its folder does not exist" in command("export", "/no/such/x.parquet", code=2).stderr
    assert "cannot be read" in command("import", str(tmp_path / "none.parquet"), code=2).stderr


def test_migrate_and_a_ledger_of_a_later_time(ledger: Ledger) -> None:
    assert "schema 1: up to date" in command("migrate").stdout
    with Lease("study-x-demo"):
        assert "Migrate when nothing runs" in command("migrate", code=3).stderr
    ledger.client.set_tag(ledger.cells()[KEY].run_id, schema.TAG_SCHEMA, "99")
    for arguments in (["migrate"], ["clean"], ["export", "x.parquet"], ["forget", KEY]):
        message = command(*arguments, code=4).stderr
        assert "schema 99, this version reads 1" in message
        assert len(message.strip().splitlines()) == 1
    file = "search_spaces/ablations/demo_temperature.toml"
    for name in ("run", "status"):
        root = Path(__file__).resolve().parents[2]
        assert "schema 99" in command(name, str(root / file), "--scale", "demo", code=4).stderr


def test_replay_wants_a_finished_cell_that_this_version_would_train(ledger: Ledger) -> None:
    runs = MlflowRuns(ledger.tracking_uri)
    runs.start(record(key="c" * 20))
    runs.finish(replace(record(key="c" * 20), state=State.UNFINISHED))
    assert "allowed: a finished cell" in command("replay", "c", code=2).stderr
    assert "which is another cell" in command("replay", KEY, code=2).stderr


@pytest.mark.parametrize("arguments", [["clean"], ["forget", KEY], ["export", "x.parquet"]])
def test_a_home_that_cannot_be_is_exit_4(tmp_path: Path, monkeypatch, arguments: list[str]) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SIMCLR_LAB_HOME", str(tmp_path / "file" / "home"))
    message = command(*arguments, code=4).stderr
    assert "cannot be reached" in message
    assert len(message.strip().splitlines()) == 1


def test_leases_that_cannot_be_written_are_exit_4(own_home: Path) -> None:
    home.leases().write_text("in the way")
    file = Path(__file__).resolve().parents[2] / "search_spaces/ablations/demo_temperature.toml"
    message = command("run", str(file), "--scale", "demo", code=4).stderr
    assert "cannot be written" in message


def test_force_is_for_ablations(own_home: Path) -> None:
    file = Path(__file__).resolve().parents[2] / "search_spaces/sweeps/demo.toml"
    message = command("run", str(file), "--scale", "demo", "--force", code=2).stderr
    assert "--force opens new attempts of an ablation's cells" in message
