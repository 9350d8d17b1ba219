"""``simclr-lab data``: datasets in the cache."""

from pathlib import Path

from simclr_lab.cli.exits import Exit, leave, output
from simclr_lab.data.sources import DATASETS, Dataset, load_dataset, verify_cached
from simclr_lab.data.unavailable import DataUnavailable


def require_dataset(name: str, offline: Path | None = None) -> Dataset:
    """The dataset, fetched if need be; exits 2 for an unknown name, 4 where no source works."""
    _known(name)
    try:
        return load_dataset(name, offline=offline)
    except DataUnavailable as error:
        leave(Exit.UNFIT, str(error))


def fetch_dataset(name: str, offline: Path | None) -> None:
    """Fetch and describe a dataset."""
    data = require_dataset(name, offline)
    output.print(
        f"{name}: {len(data.train_images)} training and {len(data.test_images)} test images, "
        f"digest {data.digest[:12]}, verified.",
        markup=False,
    )


def verify_dataset(name: str) -> None:
    """Exit 0 if the cached dataset is whole, 4 if it is missing or damaged."""
    _known(name)
    try:
        verify_cached(name)
    except DataUnavailable as error:
        leave(Exit.UNFIT, str(error))
    output.print(f"{name}: verified.")


def _known(name: str) -> None:
    if name not in DATASETS:
        leave(Exit.BAD_INPUT, f"dataset is {name!r}; allowed: {', '.join(DATASETS)}")
