"""What a folder of images says: which file belongs to which split and class.

Two layouts. One class an image: ``train/CLASS/*`` and ``test/CLASS/*``. Several labels an image:
``labels.csv`` with the columns split, file (relative to the folder) and labels, separated by
spaces. Files and classes are in the order of their names, so that every machine lists the same.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simclr_lab.data.source import Metric
from simclr_lab.data.splits import TARGET_MIN_IMAGES

SPLITS = ("train", "test")
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
TABLE = "labels.csv"
COLUMNS = ("split", "file", "labels")


class FolderError(ValueError):
    """A folder is no dataset; the message names the file or the split and what is expected."""


@dataclass(frozen=True)
class Listing:
    """Per split the files and their labels: int64 (n,), or 0 and 1 (n, classes) from a table."""

    classes: tuple[str, ...]
    files: dict[str, list[Path]]
    labels: dict[str, NDArray[np.int64]]


def list_folder(folder: Path, metric: Metric) -> Listing:
    """The images of a folder. Raises FolderError."""
    table = folder / TABLE
    if not folder.is_dir():
        raise FolderError(f"{folder} is no folder")
    if metric == "map11" and not table.exists():
        raise FolderError(f"metric map11 is of several labels an image, and {table} is missing")
    if metric != "map11" and table.exists():
        raise FolderError(f"{table} gives an image several labels; only metric map11 scores them")
    try:
        rows = _rows_of_table(table) if metric == "map11" else _rows_of_folders(folder)
    except (UnicodeDecodeError, csv.Error) as error:
        raise FolderError(f"{table} is no table of comma-separated UTF-8 text: {error}") from error
    _check(rows, folder, metric)
    classes = sorted({label for _, labels in rows["train"] for label in labels})
    return Listing(
        classes=tuple(classes),
        files={split: [path for path, _ in rows[split]] for split in SPLITS},
        labels={
            split: _labels([labels for _, labels in rows[split]], classes, metric)
            for split in SPLITS
        },
    )


Rows = dict[str, list[tuple[Path, tuple[str, ...]]]]
"""Per split, files with their labels, in the order of the files' names."""


def _rows_of_folders(folder: Path) -> Rows:
    """``SPLIT/CLASS/*``; hidden files and files that are no images by their suffix are passed."""
    rows: Rows = {}
    for split in SPLITS:
        if not (folder / split).is_dir():
            raise FolderError(f"{folder / split} is missing; expected: {folder}/{split}/CLASS/*")
        rows[split] = []
        for of_class in _visible(folder / split):
            if not of_class.is_dir():
                continue
            files = [file for file in _visible(of_class) if file.suffix.lower() in SUFFIXES]
            if not files:
                raise FolderError(f"{of_class} holds no images ({', '.join(SUFFIXES)})")
            rows[split] += [(file, (of_class.name,)) for file in files]
        if not rows[split]:
            raise FolderError(f"{folder / split} holds no class folders")
    return rows


def _visible(folder: Path) -> list[Path]:
    paths = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(paths, key=lambda path: path.name)


def _rows_of_table(table: Path) -> Rows:
    """``labels.csv``; every line is checked, and named where it is wrong."""
    found: dict[str, dict[str, tuple[str, ...]]] = {split: {} for split in SPLITS}
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if sorted(reader.fieldnames or ()) != sorted(COLUMNS):
            raise FolderError(f"{table}: its first line must name the columns {','.join(COLUMNS)}")
        for row in reader:
            where = f"{table}, line {reader.line_num}"
            if None in row or None in row.values():
                raise FolderError(f"{where}: expected {len(COLUMNS)} values")
            split, name, labels = row["split"], row["file"], tuple(row["labels"].split())
            if split not in found:
                raise FolderError(f"{where}: split is {split!r}; allowed: {', '.join(SPLITS)}")
            if any(name in files for files in found.values()):
                raise FolderError(f"{where}: {name} is listed twice")
            if not (table.parent / name).is_file():
                raise FolderError(f"{where}: {table.parent / name} is missing")
            if not labels:
                raise FolderError(f"{where}: {name} has no labels")
            found[split][name] = labels
    return {
        split: [(table.parent / name, files[name]) for name in sorted(files)]
        for split, files in found.items()
    }


def _check(rows: Rows, folder: Path, metric: Metric) -> None:
    """Refuse what cannot be fitted or scored."""
    for split, at_least in zip(SPLITS, (TARGET_MIN_IMAGES, 1), strict=True):
        if len(rows[split]) < at_least:
            raise FolderError(
                f"{folder}: {split} holds {len(rows[split])} images; needed: {at_least} or more"
            )
    train, test = ({label for _, labels in rows[split] for label in labels} for split in SPLITS)
    if len(train) < 2:
        raise FolderError(f"{folder}: train holds one class, {min(train)}; needed: 2 or more")
    if test - train:
        raise FolderError(f"{folder}: test holds classes that train lacks: {_names(test - train)}")
    if metric != "top1" and train - test:
        raise FolderError(
            f"{folder}: metric {metric} scores each class, and test lacks: {_names(train - test)}"
        )


def _names(classes: Iterable[str]) -> str:
    names = sorted(classes)
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _labels(
    given: Sequence[tuple[str, ...]], classes: Sequence[str], metric: Metric
) -> NDArray[np.int64]:
    index = {name: position for position, name in enumerate(classes)}
    if metric != "map11":
        return np.array([index[label] for (label,) in given], np.int64)
    labels = np.zeros((len(given), len(classes)), np.int64)
    for row, names in enumerate(given):
        labels[row, [index[name] for name in names]] = 1
    return labels
