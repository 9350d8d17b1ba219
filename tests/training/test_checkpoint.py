"""The checkpoint store: atomic, newest valid file wins, plain loading only."""

from pathlib import Path

import pytest
import torch

from simclr_lab.cell import EpochReport
from simclr_lab.training.checkpoint import CellStore, history_from_plain, history_to_plain


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


def test_attempts_do_not_see_each_other(tmp_path) -> None:
    CellStore(tmp_path, "key", 0).save_final(state(0))
    assert CellStore(tmp_path, "key", 1).load_final() is None


def test_history_survives_the_file(store) -> None:
    history = (EpochReport(1, 10, 1_700_000_000_123, {"train/loss": 0.1 + 0.2}),)
    store.save_checkpoint(10, {"history": history_to_plain(history)})
    assert history_from_plain(store.load_checkpoint()["history"]) == history
