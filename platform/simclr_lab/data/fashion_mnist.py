"""Fashion-MNIST from whichever source answers, verified to the last byte (Xiao et al. 2017).

Sources, in order: a folder given by the user; Debian's package where it is installed; the same
package fetched with apt and unpacked in a temporary folder (no root, nothing is installed);
torchvision's download. Whatever the source, only the pinned arrays are accepted.
"""

import gzip
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simclr_lab.data.cache import Arrays, cache_folder, read
from simclr_lab.data.fetching import cached_or_fetched, folder_first, run, short_connects
from simclr_lab.data.source import Source, joint_digest

CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
DIGESTS = {
    "train_images": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
    "train_labels": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "test_images": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    "test_labels": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
}
"""SHA-256 of the uint8 arrays: images (n, 28, 28), gray; labels (n,)."""

PACKAGE = "dataset-fashion-mnist"
FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
_FILE = "fashion_mnist.npz"


def fashion_mnist_arrays(cache: Path | None = None, offline: Path | None = None) -> Arrays:
    """The four arrays of ``DIGESTS``, from the cache or fetched into it.

    Raises DataUnavailable with every source's reason.
    """
    sources = {
        "installed Debian package": lambda _: from_files(INSTALLED),
        "apt": from_apt,
        "torchvision": from_torchvision,
    }
    path = (cache or cache_folder()) / _FILE
    return cached_or_fetched(path, DIGESTS, folder_first(offline, from_folder, sources))


def from_files(folder: Path) -> Arrays:
    """The four official files, as Debian's package installs them."""
    return {name: _idx(folder / file) for name, file in FILES.items()}


def from_apt(folder: Path) -> Arrays:
    """Debian's package, where apt knows it; neither root nor an installation is needed."""
    run(["apt-get", "download", PACKAGE], folder)
    return from_folder(folder)


def from_folder(folder: Path) -> Arrays:
    """Whichever known form the folder holds: the four official files, or Debian's package."""
    if (folder / FILES["train_images"]).exists():
        return from_files(folder)
    packages = sorted(folder.glob(f"{PACKAGE}_*.deb"))
    if packages:
        with tempfile.TemporaryDirectory(prefix="simclr-deb-") as unpacked:
            run(["dpkg-deb", "-x", str(packages[-1].resolve()), unpacked], folder)
            return from_files(Path(unpacked) / INSTALLED.relative_to("/"))
    raise FileNotFoundError(f"neither {FILES['train_images']} nor {PACKAGE}_*.deb is there")


def from_torchvision(folder: Path) -> Arrays:
    """The official files by torchvision's own download."""
    from torchvision.datasets import FashionMNIST

    with short_connects():
        train, test = (FashionMNIST(folder, train=part, download=True) for part in (True, False))
    return {
        "train_images": train.data.numpy(),
        "train_labels": train.targets.numpy().astype(np.uint8),
        "test_images": test.data.numpy(),
        "test_labels": test.targets.numpy().astype(np.uint8),
    }


def _idx(path: Path) -> NDArray[np.uint8]:
    """A compressed idx file: 2 zero bytes, the type (8 is uint8), the rank, sizes, values."""
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{path.name} is no idx file of bytes")
    rank = content[3]
    sizes = np.frombuffer(content, ">u4", rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(sizes)


SOURCE = Source(
    name="fashion_mnist",
    file=_FILE,
    classes=CLASSES,
    digest=joint_digest(DIGESTS),
    train_images=60_000,
    test_images=10_000,
    height=28,
    width=28,
    arrays=fashion_mnist_arrays,
    cached=lambda cache: read(cache / _FILE, DIGESTS),
    remedy="simclr-lab data fetch fashion_mnist",
)
