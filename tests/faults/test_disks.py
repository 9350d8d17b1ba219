"""Disks: full, read-only, and a newest checkpoint that is no longer what was written."""

from collections.abc import Callable, Iterator

import pytest
from faults.cluster import TRIAL
from faults.lab import Lab, Undisturbed, gone
from faults.nearby import NotAllowed, fill, mounted, remount
from faults.studies import alone

from simclr_lab.cell import State

pytestmark = [
    pytest.mark.faults,
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.network,
    pytest.mark.timeout(600),
]


@pytest.fixture
def small_disk(lab: Lab) -> Iterator[None]:
    """The lab's home on a disk of its own; skipped where mounts are not allowed."""
    try:
        with mounted(lab.home, "-t", "tmpfs", "-o", "size=32m", "tmpfs"):
            yield
            lab.close()
    except NotAllowed as error:
        pytest.skip(str(error))


def test_the_disk_is_full(
    lab: Lab, small_disk: None, undisturbed: Undisturbed, took: Callable[..., None]
) -> None:
    """Cells that cannot be saved fail and say why; with space the same command does the rest."""
    command = lab.start(alone(lab.folder))
    command.wait_for("started")
    fill(lab.home)
    command.wait_for("No space left")
    remount(lab.home, "size=256m")
    code, output = command.finish()
    assert code == 1, output
    failed = [cell for cell in lab.ledger.cells().values() if cell.state is State.FAILED]
    assert failed
    assert all("No space left" in (cell.reason or "") for cell in failed)
    lab.until_done([*alone(lab.folder), "--retry-failed"])
    took("alone")
    lab.assert_sound(undisturbed.lab)


def test_a_read_only_home_is_refused(lab: Lab, small_disk: None, undisturbed: Undisturbed) -> None:
    remount(lab.home, "ro")
    code, output = lab.run(alone(lab.folder))
    assert code == 4, output
    assert str(lab.home) in output
    remount(lab.home, "rw,size=256m")
    lab.until_done(alone(lab.folder))
    lab.assert_sound(undisturbed.lab)


def test_the_newest_checkpoint_is_corrupted(
    lab: Lab, undisturbed: Undisturbed, took: Callable[..., None]
) -> None:
    """The cell starts again from what is left, and its history stays one row per step."""
    command = lab.start(alone(lab.folder))
    command.wait_for("reported", 2)
    command.kill()
    gone(lambda: lab.working(*TRIAL))
    checkpoints = list((lab.home / "storage" / "cells").glob("*/0/*.pt"))
    assert checkpoints
    for path in checkpoints:
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            file.write(b"not what was written" * 50)
            file.truncate()
    lab.until_done(alone(lab.folder))
    took("alone")
    lab.assert_sound(undisturbed.lab)
