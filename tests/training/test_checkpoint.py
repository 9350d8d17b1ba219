"""The checkpoint store: atomic, newest valid file wins, plain loading only."""

import hashlib
import os
import struct
import tempfile
from pathlib import Path

import pytest
import torch

from simclr_lab.cell import EpochReport
from simclr_lab.training.attempts import attempts, leftovers, newest_attempt, stored_cells
from simclr_lab.training.checkpoint import (
    CellStore,
    history_from_plain,
    history_to_plain,
    state_digest,
)


@pytest.fixture
def store(tmp_path: Path) -> CellStore:
    return CellStore(tmp_path, "key")


def state(value: float) -> dict[str, object]:
    return {"weights": torch.full((3,), value)}


def names(store: CellStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


def test_nothing_is_found_where_nothing_was_saved(store) -> None:
    assert store.load_checkpoint() is None
    assert store.load_final() is None


def test_only_the_last_checkpoint_is_kept(store) -> None:
    for step in (10, 20, 30):
        store.save_checkpoint(step, state(step))
    assert names(store) == ["step-000000030.pt"]
    assert store.load_checkpoint()["weights"].tolist() == [30.0] * 3


def test_final_replaces_checkpoints(store) -> None:
    store.save_checkpoint(10, state(10))
    store.save_final(state(99))
    assert names(store) == ["final.pt"]
    assert store.load_final()["weights"].tolist() == [99.0] * 3


def test_a_corrupt_newest_checkpoint_falls_back_to_the_one_before(store) -> None:
    store.save_checkpoint(10, state(10))
    good = (store.folder / "step-000000010.pt").read_bytes()
    store.save_checkpoint(20, state(20))
    (store.folder / "step-000000010.pt").write_bytes(good)
    newest = store.folder / "step-000000020.pt"
    for broken in (b"", b"not a file of tensors", good[: len(good) // 2]):
        newest.write_bytes(broken)
        assert store.load_checkpoint()["weights"].tolist() == [10.0] * 3


def test_a_file_of_another_cell_is_not_taken(store, tmp_path) -> None:
    other = CellStore(tmp_path, "other")
    other.save_final(state(1))
    store.folder.mkdir(parents=True)
    store.final_path.write_bytes(other.final_path.read_bytes())
    assert store.load_final() is None


def test_a_failed_write_leaves_the_old_file_and_no_rest(store) -> None:
    store.save_final(state(1))
    with pytest.raises(Exception, match="pickle"):
        store.save_final({"weights": lambda: None})
    assert names(store) == ["final.pt"]
    assert store.load_final()["weights"].tolist() == [1.0] * 3


def test_a_full_disk_is_called_that(store, monkeypatch) -> None:
    def on_a_full_disk(prefix: str, dir: Path) -> tuple[int, str]:  # noqa: A002 - mkstemp's own
        return os.open("/dev/full", os.O_WRONLY), str(dir / f"{prefix}x")

    monkeypatch.setattr(tempfile, "mkstemp", on_a_full_disk)
    with pytest.raises(OSError, match="No space left"):
        store.save_checkpoint(1, {"weights": torch.zeros(100_000)})


def test_attempts_do_not_see_each_other(tmp_path) -> None:
    CellStore(tmp_path, "key", 0).save_final(state(0))
    assert CellStore(tmp_path, "key", 1).load_final() is None


def test_history_survives_the_file(store) -> None:
    history = (EpochReport(1, 10, 1_700_000_000_123, {"train/loss": 0.1 + 0.2}),)
    store.save_checkpoint(10, {"history": history_to_plain(history)})
    assert history_from_plain(store.load_checkpoint()["history"]) == history


def test_attempts_are_found_by_number_not_by_name(tmp_path: Path) -> None:
    assert (attempts(tmp_path, "key"), newest_attempt(tmp_path, "key")) == ([], 0)
    for attempt in (2, 10, 0):
        CellStore(tmp_path, "key", attempt).save_checkpoint(1, state(1.0))
    (tmp_path / "cells" / "key" / "notes").mkdir()
    CellStore(tmp_path, "other").save_final(state(1.0))
    assert attempts(tmp_path, "key") == [0, 2, 10]
    assert newest_attempt(tmp_path, "key") == 10
    assert list(stored_cells(tmp_path)) == [("key", 0), ("key", 2), ("key", 10), ("other", 0)]
    assert list(stored_cells(tmp_path / "none")) == []


def test_a_folder_as_it_should_be_has_no_leftovers(store) -> None:
    store.save_checkpoint(1, state(1.0))
    assert leftovers(store.folder) == []
    store.save_final(state(1.0))
    assert leftovers(store.folder) == []
    (store.folder / "step-000000001.pt").write_bytes(b"")
    (store.folder / ".writing-abc").write_bytes(b"")
    assert [path.name for path in leftovers(store.folder)] == [".writing-abc", "step-000000001.pt"]


def test_a_digest_depends_on_values_and_nothing_else() -> None:
    weights = torch.arange(24.0).reshape(1, 2, 3, 4)
    one = {"a": weights, "b": torch.tensor(3), "c": torch.zeros(0)}
    same = {
        "c": torch.zeros(0),
        "b": torch.tensor(3),
        "a": weights.clone().to(memory_format=torch.channels_last),
    }
    assert state_digest(one) == state_digest(same)
    assert len(state_digest({})) == 64
    others = [
        one | {"a": weights.to(torch.bfloat16)},
        one | {"a": weights.reshape(1, 2, 4, 3)},
        one | {"a": torch.nextafter(weights, weights + 1)},
        {"x": weights, "b": torch.tensor(3), "c": torch.zeros(0)},
    ]
    assert len({state_digest(one), *map(state_digest, others)}) == 5


def test_the_digest_is_a_plain_hash_of_names_types_shapes_and_bytes() -> None:
    weights = torch.tensor([[1.0, 2.0]])
    text = b"w torch.float32 (1, 2)\n" + struct.pack("<2f", 1.0, 2.0)
    assert state_digest({"w": weights}) == hashlib.sha256(text).hexdigest()
