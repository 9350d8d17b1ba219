"""Leases: one holder, named; gone with its process however it died."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simclr_lab.tracking.lease import Lease, LeaseHeld, all_leases, held
from simclr_lab.tracking.unfit import HomeUnfit

HOLD = (
    "import sys, time; from pathlib import Path; from simclr_lab.tracking.lease import Lease;"
    "lease = Lease('cell', Path(sys.argv[1])); assert lease.acquire(); print('held', flush=True);"
    "time.sleep(100)"
)


def holder(folder: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait(30)
    process.stdout.close()


def test_a_lease_has_one_holder_who_is_named(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        lease = Lease("cell", tmp_path)
        assert not lease.acquire()
        assert f"pid {process.pid}" in (lease.owner() or "")
        with pytest.raises(LeaseHeld, match=f"pid {process.pid}"), Lease("cell", tmp_path):
            pass
        assert Lease("other", tmp_path).acquire()
    finally:
        end(process)


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    end(holder(tmp_path))
    lease = Lease("cell", tmp_path)
    assert lease.acquire(timeout=10)
    assert f"pid {os.getpid()}" in (lease.owner() or "")
    lease.release()
    assert lease.owner() is None


def test_two_leases_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    with Lease("cell", tmp_path):
        assert not Lease("cell", tmp_path).acquire()
    assert Lease("cell", tmp_path).acquire()


def test_any_name_makes_a_file(tmp_path: Path) -> None:
    lease = Lease("study-x-demo+data.folder='a/b'", tmp_path)
    assert lease.acquire()
    assert not Lease("study-x-demo+data.folder='a/b'", tmp_path).acquire()
    lease.release()


def test_a_forgotten_lease_leaves_no_file_and_excludes_as_before(tmp_path: Path) -> None:
    lease, waiting = Lease("cell", tmp_path), Lease("cell", tmp_path)
    assert lease.acquire()
    assert all_leases(tmp_path) == ["cell"]
    assert not waiting.acquire()
    lease.forget()
    assert list(tmp_path.iterdir()) == []
    with waiting:
        assert not Lease("cell", tmp_path).acquire()


def test_held_names_the_holder(tmp_path: Path) -> None:
    assert held(folder=tmp_path) is None
    with Lease("study-a.b-demo", tmp_path):
        assert f"pid {os.getpid()}" in (held("study-", tmp_path) or "")
        assert held("cell-", tmp_path) is None
    assert held(folder=tmp_path) is None


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeUnfit, match="cannot be written"):
        Lease("cell", tmp_path / "file").acquire()


def test_a_full_disk_is_named_and_the_lease_is_given_back(tmp_path: Path, monkeypatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(HomeUnfit, match="No space left"):
            Lease("cell", tmp_path).acquire()
    assert Lease("cell", tmp_path).acquire()
