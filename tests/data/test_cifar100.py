"""CIFAR-100: the official archive's layout and MD5s, and a cache that remembers its digests."""

import hashlib
import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR100

from simclr_lab.data import cifar100 as module
from simclr_lab.data.cifar100 import cifar100_arrays
from simclr_lab.data.sources import dataset_digest, load_dataset, verify_cached
from simclr_lab.data.unavailable import DataUnavailable


def members() -> dict[str, bytes]:
    """The archive's files with six training and four test images."""
    generator = np.random.default_rng(0)
    contents = {"meta": pickle.dumps({b"fine_label_names": [b"apple"]})}
    for part, n in (("train", 6), ("test", 4)):
        batch = {
            b"data": generator.integers(0, 256, (n, 3072), dtype=np.uint8),
            b"fine_labels": [17 * row % 100 for row in range(n)],
            b"coarse_labels": [0] * n,
        }
        contents[part] = pickle.dumps(batch)
    return contents


def archive(folder: Path, contents: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "cifar-100-python.tar.gz", "w:gz") as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(f"cifar-100-python/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return folder


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small archive whose MD5s count as official; torchvision is out of reach."""

    def dead(folder: Path):
        raise OSError("unreachable")

    monkeypatch.setattr(
        module, "MD5S", {name: hashlib.md5(text).hexdigest() for name, text in members().items()}
    )
    monkeypatch.setattr(module, "from_torchvision", dead)
    return archive(tmp_path / "offline", members())


def test_the_official_md5s_are_torchvisions() -> None:
    lists = dict(CIFAR100.train_list + CIFAR100.test_list)
    assert lists | {"meta": CIFAR100.meta["md5"]} == module.MD5S


def test_the_identity_is_known_without_a_download() -> None:
    text = "".join(module.MD5S[name] for name in ("meta", "test", "train"))
    assert dataset_digest("cifar100") == hashlib.sha256(text.encode()).hexdigest()
    assert len(module.CLASSES) == 100
    assert list(module.CLASSES) == sorted(set(module.CLASSES))


def test_the_archive_gives_its_images(offline: Path, tmp_path: Path) -> None:
    data = load_dataset("cifar100", cache=tmp_path / "cache", offline=offline)
    batch = pickle.loads(members()["train"])
    for row in range(6):  # the twin: red, green and blue planes, row by row
        for channel in range(3):
            plane = batch[b"data"][row, 1024 * channel : 1024 * (channel + 1)]
            assert data.train_images[row, channel].ravel().tolist() == plane.tolist()
    assert data.train_labels.tolist() == batch[b"fine_labels"]
    assert data.test_images.shape == (4, 3, 32, 32)
    assert data.metric == "top1"
    assert data.digest == dataset_digest("cifar100")


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_an_altered_member_is_refused_unopened(offline: Path, tmp_path: Path, name: str) -> None:
    bomb = b"csys\nexit\n(tR."  # opened as a pickle it would leave the test
    archive(offline, members() | {name: bomb})
    with pytest.raises(DataUnavailable) as caught:
        cifar100_arrays(tmp_path / "cache", offline)
    reasons = caught.value.reasons
    assert f"cifar-100-python/{name} has MD5" in reasons[f"folder {offline}"]
    assert "unreachable" in reasons["torchvision"]


def test_a_missing_member_or_archive_is_named(offline: Path, tmp_path: Path) -> None:
    archive(offline, {name: text for name, text in members().items() if name != "test"})
    with pytest.raises(ValueError, match="holds no file cifar-100-python/test"):
        module.from_folder(offline)
    with pytest.raises(FileNotFoundError, match=r"cifar-100-python\.tar\.gz"):
        module.from_folder(tmp_path)


@pytest.mark.parametrize("damage", ["torn", "altered", "no record", "torn record", "no digests"])
def test_the_cache_is_checked_against_its_record(
    offline: Path, tmp_path: Path, damage: str
) -> None:
    from simclr_lab.data.cache import write

    cache = tmp_path / "cache"
    arrays = cifar100_arrays(cache, offline)
    verify_cached("cifar100", cache)
    file, record = cache / "cifar100.npz", cache / "cifar100.json"
    if damage == "torn":
        file.write_bytes(file.read_bytes()[:500])
    elif damage == "altered":
        write(file, arrays | {"test_labels": arrays["test_labels"] + 1})
    elif damage == "no record":
        record.unlink()
    elif damage == "torn record":
        record.write_text(record.read_text()[:40])
    else:
        record.write_text(json.dumps({"digests": {}}))
    with pytest.raises(DataUnavailable, match="damaged; run: simclr-lab data fetch cifar100"):
        verify_cached("cifar100", cache)
    cifar100_arrays(cache, offline)
    verify_cached("cifar100", cache)
