"""Forgetting and cleaning: what goes, what stays, and who may be asked while it runs."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tracking_records import FINISHED, KEY, record

from simclr_lab.cell import State, StudyCell, StudyRecord
from simclr_lab.tracking import home
from simclr_lab.tracking.cleaning import find_rubbish, remove
from simclr_lab.tracking.forgetting import forget_cell, forget_study, plan_forgetting
from simclr_lab.tracking.lease import Lease, LeaseHeld, all_leases
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.mlflow_runs import MlflowRuns

OTHER = "b" * 20
OLD = time.time() - 7 * 86400


def study(name: str, *keys: str) -> StudyRecord:
    cells = tuple(StudyCell(key, f"arm {key[0]}", 0) for key in keys)
    return StudyRecord(name, "demo", "ablation", "linear/test_top1", cells)


def files(key: str, attempt: int = 0, *names: str) -> Path:
    folder = home.storage() / "cells" / key / str(attempt)
    folder.mkdir(parents=True)
    for name in names or ("final.pt",):
        (folder / name).write_bytes(b"x" * 100)
    return folder


@pytest.fixture
def ledger(own_home: Path) -> Ledger:
    """Two finished cells with files; one study lists both, another one of them."""
    ledger = Ledger()
    runs = MlflowRuns(ledger.tracking_uri)
    for key in (KEY, OTHER):
        runs.start(record(key=key))
        runs.finish(replace(record(key=key), **FINISHED))
        files(key)
    runs.open_study(study("both", KEY, OTHER))
    runs.open_study(study("one", OTHER))
    return ledger


def test_a_study_goes_without_the_cells_that_others_list(ledger: Ledger) -> None:
    both = ledger.study("both", "demo")
    assert both is not None
    what = plan_forgetting(ledger.studies(), home.storage(), study=both)
    assert (what.keys, what.kept, what.bytes) == ((KEY,), (OTHER,), 100)
    forced = plan_forgetting(ledger.studies(), home.storage(), study=both, force=True)
    assert (forced.keys, forced.kept, forced.bytes) == ((KEY, OTHER), (), 200)
    assert forced.listed == {OTHER: ["one at demo"]}
    for key in what.keys:
        forget_cell(ledger, key, home.storage())
    forget_study(ledger, both)
    assert set(Ledger().cells()) == {OTHER}
    assert [s.study for s in Ledger().studies()] == ["one"]
    assert [path.name for path in (home.storage() / "cells").iterdir()] == [OTHER]


def test_a_cell_goes_with_all_its_attempts_and_its_lease(ledger: Ledger) -> None:
    runs = ledger.runs_client
    runs.start(record(attempt=1))
    runs.start(record(attempt=2, replay_of="x"))
    with Lease(f"cell-{KEY}"):
        pass
    forget_cell(ledger, KEY, home.storage())
    assert KEY not in Ledger().cells()
    assert Ledger().replays(KEY) == []
    assert all_leases() == []
    what = plan_forgetting(ledger.studies(), home.storage(), key=OTHER)
    assert what.listed == {OTHER: ["both at demo", "one at demo"]}


def test_what_runs_is_not_forgotten(ledger: Ledger) -> None:
    with Lease(f"cell-{KEY}"), pytest.raises(LeaseHeld, match=f"pid {os.getpid()}"):
        forget_cell(ledger, KEY, home.storage())
    assert KEY in Ledger().cells()
    assert (home.storage() / "cells" / KEY / "0" / "final.pt").exists()


def age(path: Path) -> None:
    for each in [*path.rglob("*"), path]:
        os.utime(each, (OLD, OLD))


def rubbish(ledger: Ledger, hours: float = 24) -> set[str]:
    found = find_rubbish(ledger, older_than=3600 * hours)
    return {f"{item.what} {item.path.relative_to(home.home())}" for item in found}


def test_only_what_no_record_points_to_is_rubbish(ledger: Ledger) -> None:
    runs = ledger.runs_client
    runs.start(record(attempt=2))  # reopened
    runs.start(record(attempt=3, replay_of="x"))  # a replay under way
    runs.start(record(attempt=4, replay_of="x"))
    runs.finish(replace(record(attempt=4, replay_of="x"), **FINISHED))
    for attempt in (1, 2, 3, 4):
        files(KEY, attempt, "step-000000001.pt")
    files("c" * 20)
    torn = home.storage() / "cells" / OTHER / "0"
    (torn / ".writing-x").write_bytes(b"x")
    (torn / "step-000000009.pt").write_bytes(b"x")  # a kill between the end and the clearing up
    for name in ("tune-1", f"{KEY}-1"):
        (home.storage() / "scratch" / name).mkdir(parents=True)
    logs = home.home() / "logs"
    logs.mkdir()
    for name in ("both-20260101-000000.log", "gone-20260101-000000.log", "notes.txt"):
        (logs / name).write_text("x")
    for name in (f"cell-{KEY}", "cell-" + "c" * 20, "study-both-demo", "study-gone-demo"):
        with Lease(name):
            pass
    assert rubbish(ledger) == set()  # all of it was touched just now
    for folder in ("storage", "logs", "leases"):
        age(home.home() / folder)
    cells = f"storage/cells/{KEY}"
    expected = {
        f"attempt {cells}/1",
        f"attempt {cells}/4",
        f"attempt storage/cells/{'c' * 20}/0",
        f"torn file storage/cells/{OTHER}/0/.writing-x",
        f"torn file storage/cells/{OTHER}/0/step-000000009.pt",
        "scratch storage/scratch/tune-1",
        f"scratch storage/scratch/{KEY}-1",
        "log logs/gone-20260101-000000.log",
        f"lease leases/cell-{'c' * 20}.lock",
        "lease leases/study-gone-demo.lock",
    }
    assert rubbish(ledger) == expected
    with Lease("study-running-demo"), Lease(f"cell-{KEY}"):
        left = rubbish(ledger)
    assert {item for item in left if KEY in item or "tune" in item} == set()


def test_removing_takes_the_rubbish_and_nothing_else(ledger: Ledger) -> None:
    files("c" * 20)
    before = Ledger().cells()
    found = find_rubbish(ledger, older_than=-1)
    assert sorted(item.what for item in found) == ["attempt"]
    assert all(remove(item) for item in found)
    assert [item.what for item in find_rubbish(ledger, older_than=-1)] == ["lease"]  # its own
    assert Ledger().cells() == before
    for key in (KEY, OTHER):
        assert (home.storage() / "cells" / key / "0" / "final.pt").exists()
    assert not (home.storage() / "cells" / ("c" * 20)).exists()


def test_what_is_touched_or_leased_meanwhile_stays(ledger: Ledger) -> None:
    folder = files("c" * 20)
    age(folder)
    (item,) = find_rubbish(ledger, older_than=60)
    with Lease("cell-" + "c" * 20):
        assert not remove(item)
    (folder / "final.pt").write_bytes(b"new")
    assert not remove(item)
    assert folder.exists()


def test_unfinished_cells_keep_their_checkpoint(ledger: Ledger) -> None:
    key = "d" * 20
    ledger.runs_client.start(record(key=key))
    ledger.runs_client.finish(replace(record(key=key), state=State.UNFINISHED))
    age(files(key, 0, "step-000000001.pt"))
    assert rubbish(ledger) == set()
