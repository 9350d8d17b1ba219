"""Fashion-MNIST: pinned arrays, the forms in which they come, gray repeated to three channels."""

import gzip
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from simclr_lab.data import fashion_mnist as module
from simclr_lab.data.cache import Arrays, digests_of
from simclr_lab.data.fashion_mnist import fashion_mnist_arrays
from simclr_lab.data.sources import load_dataset, verify_cached
from simclr_lab.data.unavailable import DataUnavailable


def pictures() -> Arrays:
    generator = np.random.default_rng(0)
    return {
        "train_images": generator.integers(0, 256, (7, 28, 28), dtype=np.uint8),
        "train_labels": np.arange(7, dtype=np.uint8),
        "test_images": generator.integers(0, 256, (3, 28, 28), dtype=np.uint8),
        "test_labels": np.arange(3, dtype=np.uint8),
    }


def official(folder: Path) -> Path:
    """The four official files with ten images in all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in pictures().items():
        sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
        content = bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
        (folder / module.FILES[name]).write_bytes(gzip.compress(content))
    return folder


def package(folder: Path) -> Path:
    """Debian's package of the same files, in ``folder``."""
    root = folder / "root"
    official(root / "usr/share/datasets/fashion-mnist")
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN" / "control").write_text(
        "Package: dataset-fashion-mnist\nVersion: 1\nArchitecture: all\n"
        "Maintainer: nobody <nobody@example.org>\nDescription: small\n"
    )
    path = folder / "dataset-fashion-mnist_1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--build", "--root-owner-group", str(root), str(path)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    shutil.rmtree(root)
    return path


def reach(monkeypatch: pytest.MonkeyPatch, **alive) -> None:
    """All sources but the named ones are out of reach; ``installed`` is a folder."""

    def dead(folder: Path):
        raise OSError("unreachable")

    monkeypatch.setattr(module, "DIGESTS", digests_of(pictures()))
    monkeypatch.setattr(module, "INSTALLED", alive.get("installed", Path("/nowhere")))
    for name in ("from_apt", "from_torchvision"):
        monkeypatch.setattr(module, name, alive.get(name, dead))


def same(arrays: Arrays) -> bool:
    return all(np.array_equal(arrays[name], array) for name, array in pictures().items())


def test_the_official_files_give_their_images(tmp_path: Path) -> None:
    assert same(module.from_folder(official(tmp_path)))


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="unpacks with dpkg-deb")
def test_a_debian_package_in_a_folder_is_unpacked(tmp_path: Path) -> None:
    package(tmp_path)
    assert same(module.from_folder(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["dataset-fashion-mnist_1_all.deb"]


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="unpacks with dpkg-deb")
def test_apt_downloads_and_installs_nothing(tmp_path: Path, monkeypatch) -> None:
    asked, real = [], module.run

    def run(command, folder: Path) -> str:
        if command[0] != "apt-get":
            return real(command, folder)
        asked.append(command)
        package(folder)
        return ""

    monkeypatch.setattr(module, "run", run)
    assert same(module.from_apt(tmp_path))
    assert asked == [["apt-get", "download", "dataset-fashion-mnist"]]


def test_an_apt_that_fails_says_why(tmp_path: Path, monkeypatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "apt-get").write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2; exit 100\n")
    (tools / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    with pytest.raises(RuntimeError, match=r"apt-get download .* E: Unable to locate package"):
        module.from_apt(tmp_path)


def test_a_file_that_is_no_idx_is_named(tmp_path: Path) -> None:
    official(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"no labels"))
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte\.gz is no idx file"):
        module.from_folder(tmp_path)


def test_the_installed_package_comes_before_a_download(tmp_path: Path, monkeypatch) -> None:
    reach(monkeypatch, installed=official(tmp_path / "installed"))
    assert same(fashion_mnist_arrays(tmp_path / "cache"))
    reach(monkeypatch)  # now everything is unreachable, and the cache answers
    assert same(fashion_mnist_arrays(tmp_path / "cache"))


def test_one_error_with_every_reason(tmp_path: Path, monkeypatch) -> None:
    wrong = pictures() | {"test_labels": np.zeros(3, np.uint8)}
    reach(monkeypatch, from_torchvision=lambda _: wrong)
    with pytest.raises(DataUnavailable) as caught:
        fashion_mnist_arrays(tmp_path / "cache", tmp_path)
    reasons = caught.value.reasons
    assert list(reasons) == [
        f"folder {tmp_path}",
        "installed Debian package",
        "apt",
        "torchvision",
    ]
    assert "neither train-images-idx3-ubyte.gz nor" in reasons[f"folder {tmp_path}"]
    assert "/nowhere/train-images-idx3-ubyte.gz" in reasons["installed Debian package"]
    assert "unreachable" in reasons["apt"]
    assert reasons["torchvision"] == "wrong content in test_labels"


def test_gray_is_kept_once_and_given_three_times(tmp_path: Path, monkeypatch) -> None:
    reach(monkeypatch, from_apt=lambda _: pictures())
    data = load_dataset("fashion_mnist", cache=tmp_path)
    assert data.train_images.shape == (7, 3, 28, 28)
    for channel in range(3):
        assert np.array_equal(data.train_images[:, channel], pictures()["train_images"])
    assert data.train_labels.dtype == np.int64
    with np.load(tmp_path / "fashion_mnist.npz") as archive:
        assert archive["train_images"].shape == (7, 28, 28)
    verify_cached("fashion_mnist", tmp_path)


@pytest.mark.network
def test_the_real_dataset() -> None:
    """Counts, balance, and the mean and deviation that everybody normalises with."""
    data = load_dataset("fashion_mnist")
    assert data.train_images.shape == (60_000, 3, 28, 28)
    assert data.test_images.shape == (10_000, 3, 28, 28)
    assert np.bincount(data.train_labels).tolist() == [6000] * 10
    assert np.bincount(data.test_labels).tolist() == [1000] * 10
    gray = data.train_images[:, 0] / 255
    assert [round(float(gray.mean()), 4), round(float(gray.std()), 4)] == [0.2860, 0.3530]
    assert data.classes[data.train_labels[0]] == "ankle boot"
