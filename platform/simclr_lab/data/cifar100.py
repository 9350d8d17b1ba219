"""CIFAR-100 with its fine labels (Krizhevsky 2009).

Sources, in order: a folder given by the user that holds ``cifar-100-python.tar.gz``; torchvision's
download of the same archive.

How it is verified: the archive's members are accepted only with the official MD5s, the ones that
torchvision publishes; they are also the dataset's identity, known before any download. The decoded
arrays have no pinned digests. Their SHA-256 are recorded beside the cached file when the verified
archive is decoded, and the cache is checked against that record.
"""

import hashlib
import pickle
import tarfile
from pathlib import Path

import numpy as np

from simclr_lab.data.cache import Arrays, cache_folder, read
from simclr_lab.data.fetching import cached_or_fetched, folder_first, short_connects
from simclr_lab.data.source import Source, joint_digest

ARCHIVE = "cifar-100-python.tar.gz"
MD5S = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
"""MD5 of the members of ``cifar-100-python`` in the official archive."""

_FINE_LABELS = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange
orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit
raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel
streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip
turtle wardrobe whale willow_tree wolf woman worm
"""
CLASSES = tuple(_FINE_LABELS.split())
"""Class i is the i-th name."""

_FILE = "cifar100.npz"


def cifar100_arrays(cache: Path | None = None, offline: Path | None = None) -> Arrays:
    """Images uint8 (n, 32, 32, 3) and fine labels uint8 (n,), from the cache or fetched into it.

    Raises DataUnavailable with every source's reason.
    """
    sources = folder_first(offline, from_folder, {"torchvision": from_torchvision})
    return cached_or_fetched((cache or cache_folder()) / _FILE, None, sources)


def from_torchvision(folder: Path) -> Arrays:
    """The official archive by torchvision's own download."""
    from torchvision.datasets import CIFAR100

    with short_connects():
        CIFAR100(folder, download=True)
    return from_folder(folder)


def from_folder(folder: Path) -> Arrays:
    """The official archive of pickles; ValueError where a member is not the official one.

    A pickle is only opened once its MD5 is known to be the official one.
    """
    with tarfile.open(folder / ARCHIVE) as tar:
        contents = {name: _member(tar, name) for name in MD5S}
    arrays: Arrays = {}
    for part in ("train", "test"):
        batch = pickle.loads(contents[part], encoding="bytes")
        planar = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
        arrays[f"{part}_images"] = np.ascontiguousarray(planar.transpose(0, 2, 3, 1))
        arrays[f"{part}_labels"] = np.array(batch[b"fine_labels"], np.uint8)
    return arrays


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    try:
        file = tar.extractfile(f"cifar-100-python/{name}")
    except KeyError:
        file = None
    if file is None:
        raise ValueError(f"{ARCHIVE} holds no file cifar-100-python/{name}")
    content = file.read()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != MD5S[name]:
        raise ValueError(f"cifar-100-python/{name} has MD5 {found}, not the official {MD5S[name]}")
    return content


SOURCE = Source(
    name="cifar100",
    file=_FILE,
    classes=CLASSES,
    digest=joint_digest(MD5S),
    train_images=50_000,
    test_images=10_000,
    height=32,
    width=32,
    arrays=cifar100_arrays,
    cached=lambda cache: read(cache / _FILE, None),
    remedy="simclr-lab data fetch cifar100",
)
