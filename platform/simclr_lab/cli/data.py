"""``simclr-lab data``: datasets in the cache."""

from pathlib import Path

from simclr_lab.cli.exits import Exit, leave, output
from simclr_lab.data.cache import cache_folder
from simclr_lab.data.folder import register_folder
from simclr_lab.data.folder_listing import FolderError
from simclr_lab.data.source import METRICS, Source
from simclr_lab.data.sources import (
    Dataset,
    find_source,
    known_datasets,
    load_dataset,
    verify_cached,
)
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


def register_dataset(name: str, folder: Path, size: int, metric: str) -> None:
    """Decode an image folder into the cache and say how to use it; exits 2 where it is none."""
    if metric not in METRICS:
        leave(Exit.BAD_INPUT, f"metric is {metric!r}; allowed: {', '.join(METRICS)}")
    try:
        registered = register_folder(name, folder, image_size=size, metric=metric)
    except FolderError as error:
        leave(Exit.BAD_INPUT, str(error))
    source = find_source(registered)
    output.print(
        f"{registered}: {source.train_images} training and {source.test_images} test images of "
        f"{len(source.classes)} classes, {size} x {size}, metric {metric}.\n"
        f"Transfer to it: --set 'evaluation.protocols=[\"transfer_{registered}\"]'",
        markup=False,
    )


def list_datasets() -> None:
    """One line a dataset; ``cached`` says that its file is there, ``verify`` reads it."""
    names = known_datasets()
    width = max(len("name"), *map(len, names))
    header = ("train", "test", "size", "classes", "metric", "cached", "digest")
    output.print(_line("name".ljust(width), header))
    for name in names:
        try:
            source = find_source(name)
        except DataUnavailable:
            damaged = f"{name.ljust(width)}  damaged; see: simclr-lab data verify {name}"
            output.print(damaged, markup=False)
            continue
        output.print(_line(name.ljust(width), _facts(source)), markup=False)


def _facts(source: Source) -> tuple[str, ...]:
    return (
        str(source.train_images),
        str(source.test_images),
        f"{source.height} x {source.width}",
        str(len(source.classes)),
        source.metric,
        "yes" if (cache_folder() / source.file).exists() else "no",
        source.digest[:12],
    )


def _line(name: str, facts: tuple[str, ...]) -> str:
    train, test, size, classes, metric, cached, digest = facts
    return (
        f"{name}  {train:>7}  {test:>7}  {size:>11}  {classes:>7}  {metric:<14}  {cached:<6}  "
        f"{digest}"
    )


def _known(name: str) -> None:
    known = known_datasets()
    if name not in known:
        leave(Exit.BAD_INPUT, f"dataset is {name!r}; allowed: {', '.join(known)}")
