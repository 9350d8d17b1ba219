"""Image folders: decoded as the paper says, named by content, checked line by line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simclr_lab.data.cache import write
from simclr_lab.data.folder import register_folder, registered_names
from simclr_lab.data.folder_listing import FolderError
from simclr_lab.data.sources import (
    dataset_digest,
    find_source,
    known_datasets,
    load_dataset,
    verify_cached,
)
from simclr_lab.data.unavailable import DataUnavailable

CLASSES = ("bee", "ant", "cow")


def picture(path: Path, seed: int, size: tuple[int, int] = (12, 9)) -> np.ndarray:
    """A random picture of ``size`` (width, height), written without loss; returns its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def of_classes(folder: Path, per_class: int = 5) -> Path:
    """``train/CLASS`` and ``test/CLASS`` of PNGs, the test pictures fewer."""
    for split, n in (("train", per_class), ("test", 2)):
        for position, name in enumerate(CLASSES):
            for number in range(n):
                seed = 1_000 * (split == "test") + 100 * position + number
                picture(folder / split / name / f"{number}.png", seed)
    (folder / "train" / "ant" / ".hidden.png").write_text("not an image")
    (folder / "train" / "ant" / "notes.txt").write_text("not an image")
    return folder


def of_labels(folder: Path) -> Path:
    """``labels.csv`` over one folder of pictures, several labels an image."""
    lines = ["split,file,labels"]
    for number in range(15):
        picture(folder / "all" / f"{number:02}.png", number)
        labels = ("ant bee", "bee", "cow ant bee")[number % 3]
        lines.append(f"{'test' if number >= 12 else 'train'},all/{number:02}.png,{labels}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


def register(folder: Path, cache: Path, metric="mean_per_class", size: int = 8) -> str:
    return register_folder("farm", folder, image_size=size, metric=metric, cache=cache)


def test_a_registered_folder_is_a_dataset(tmp_path: Path) -> None:
    name = register(of_classes(tmp_path / "in"), tmp_path)
    data = load_dataset(name, cache=tmp_path)
    assert name == f"farm-{data.digest[:8]}"
    assert dataset_digest(name, tmp_path) == data.digest
    assert data.classes == ("ant", "bee", "cow")
    assert data.metric == "mean_per_class"
    assert data.train_images.shape == (15, 3, 8, 8)
    assert data.train_labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert data.test_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.train_labels.dtype == np.int64
    assert known_datasets(tmp_path) == ("cifar10", "cifar100", "fashion_mnist", name)
    verify_cached(name, tmp_path)


@pytest.mark.parametrize("size", [(12, 9), (9, 12), (16, 16), (8, 8), (40, 11)])
def test_pictures_are_resized_by_the_shorter_side_and_cropped(tmp_path: Path, size) -> None:
    """The twin: Pillow's antialiased bicubic to 8 pixels, then the middle."""
    folder = of_classes(tmp_path / "in")
    pixels = picture(folder / "train" / "ant" / "0.png", 7, size)
    data = load_dataset(register(folder, tmp_path), cache=tmp_path)
    wide, high = (8 * side // min(size) for side in size)
    whole = np.asarray(Image.fromarray(pixels).resize((wide, high), Image.Resampling.BICUBIC))
    top, left = round((high - 8) / 2), round((wide - 8) / 2)
    expected = whole[top : top + 8, left : left + 8].transpose(2, 0, 1)
    assert np.array_equal(data.train_images[0], expected)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    folder = of_classes(tmp_path / "in")
    whole = Image.fromarray(picture(folder / "train" / "ant" / "0.png", 3, (8, 8))).convert(mode)
    file = folder / "train" / "ant" / "0.png"
    if mode == "CMYK":
        file.unlink()
        file = file.with_suffix(".TIFF")
    whole.save(file)
    data = load_dataset(register(folder, tmp_path), cache=tmp_path)
    assert np.array_equal(data.train_images[0], np.asarray(whole.convert("RGB")).transpose(2, 0, 1))


def test_the_name_is_the_content(tmp_path: Path) -> None:
    folder = of_classes(tmp_path / "in")
    name = register(folder, tmp_path / "here")
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert register(moved, tmp_path / "there") == name
    others = {
        register(folder, tmp_path / "here", size=9),
        register(folder, tmp_path / "here", metric="top1"),
    }
    picture(moved / "train" / "cow" / "0.png", 99)
    others.add(register(moved, tmp_path / "here"))
    assert len(others | {name}) == 4
    assert set(registered_names(tmp_path / "here")) == others | {name}


def test_registering_twice_changes_nothing(tmp_path: Path) -> None:
    folder = of_classes(tmp_path / "in")
    name = register(folder, tmp_path)
    before = {path: path.stat().st_ino for path in (tmp_path / "folders").iterdir()}
    assert register(folder, tmp_path) == name
    assert {path: path.stat().st_ino for path in (tmp_path / "folders").iterdir()} == before


def test_several_labels_an_image(tmp_path: Path) -> None:
    name = register(of_labels(tmp_path / "in"), tmp_path, "map11")
    data = load_dataset(name, cache=tmp_path)
    assert data.metric == "map11"
    assert data.classes == ("ant", "bee", "cow")
    assert data.train_labels.tolist() == [[1, 1, 0], [0, 1, 0], [1, 1, 1]] * 4
    assert data.test_labels.shape == (3, 3)
    assert data.train_labels.dtype == np.int64


@pytest.mark.parametrize("damage", ["torn", "altered", "missing"])
def test_damaged_pixels_are_seen_and_registered_again(tmp_path: Path, damage: str) -> None:
    folder = of_classes(tmp_path / "in")
    name = register(folder, tmp_path)
    file = tmp_path / "folders" / f"{name}.npz"
    if damage == "missing":
        file.unlink()
    elif damage == "torn":
        file.write_bytes(file.read_bytes()[:300])
    else:
        with np.load(file) as archive:
            arrays = dict(archive)
        write(file, arrays | {"train_labels": arrays["train_labels"][::-1]})
    state = "missing" if damage == "missing" else "damaged"
    problem = f"{state}; run: simclr-lab data register farm FOLDER"
    for look in (verify_cached, lambda name, cache: load_dataset(name, cache=cache)):
        with pytest.raises(DataUnavailable, match=problem):
            look(name, tmp_path)
    assert register(folder, tmp_path) == name
    verify_cached(name, tmp_path)


@pytest.mark.parametrize("damage", ["torn", "altered", "no record"])
def test_a_damaged_record_is_seen_and_registered_again(tmp_path: Path, damage: str) -> None:
    folder = of_classes(tmp_path / "in")
    name = register(folder, tmp_path)
    file = tmp_path / "folders" / f"{name}.json"
    record = json.loads(file.read_text())
    altered = json.dumps(record | {"metric": "top1"})
    file.write_text({"torn": altered[:30], "altered": altered, "no record": "[]"}[damage])
    with pytest.raises(DataUnavailable, match=r"\.json: damaged; run: simclr-lab data register"):
        find_source(name, tmp_path)
    assert register(folder, tmp_path) == name
    verify_cached(name, tmp_path)


@pytest.mark.parametrize("name", ["farm-12345678", "../farm-12345678", "farm", "", "cifar11"])
def test_unknown_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyError):
        load_dataset(name, cache=tmp_path)


@pytest.mark.parametrize(
    "name", ["", "Farm", "my-farm", "_farm", "farm_", "a__b", "fa/rm", "fa.rm"]
)
def test_wrong_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(FolderError, match="allowed: small letters and digits, with underscores"):
        register_folder(name, tmp_path, image_size=8, metric="top1", cache=tmp_path)


def test_wrong_sizes_and_metrics(tmp_path: Path) -> None:
    for size in (7, 1025):
        with pytest.raises(FolderError, match=f"size is {size}; allowed: 8 to 1024 pixels"):
            register(tmp_path, tmp_path, size=size)
    with pytest.raises(FolderError, match="metric is 'f1'; allowed: top1, mean_per_class, map11"):
        register(tmp_path, tmp_path, metric="f1")


def broken(folder: Path, what: str) -> None:
    """Break a folder of classes in one way."""
    if what == "no folder":
        shutil.rmtree(folder)
    elif what == "no test":
        shutil.rmtree(folder / "test")
    elif what == "no classes":
        for name in CLASSES:
            shutil.rmtree(folder / "test" / name)
    elif what == "empty class":
        (folder / "train" / "dog").mkdir()
    elif what == "new class":
        picture(folder / "test" / "dog" / "0.png", 5)
    elif what == "class unseen":
        shutil.rmtree(folder / "test" / "bee")
    elif what == "one class":
        for name in ("bee", "cow"):
            shutil.rmtree(folder / "train" / name)
        for number in range(10):
            picture(folder / "train" / "ant" / f"{number}.png", number)
    elif what == "few":
        for file in (folder / "train").glob("*/[2-4].png"):
            file.unlink()
    elif what == "table":
        (folder / "labels.csv").write_text("split,file,labels\n")
    elif what == "no image":
        (folder / "train" / "bee" / "3.png").write_text("no image")
    elif what == "cut":
        file = folder / "train" / "bee" / "3.png"
        file.write_bytes(file.read_bytes()[:200])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no folder", "in is no folder"),
        ("no test", r"in/test is missing; expected: .*in/test/CLASS/\*"),
        ("no classes", "in/test holds no class folders"),
        ("empty class", r"train/dog holds no images \(\.bmp"),
        ("new class", "test holds classes that train lacks: dog"),
        ("class unseen", "metric mean_per_class scores each class, and test lacks: bee"),
        ("one class", "train holds one class, ant; needed: 2 or more"),
        ("few", "train holds 6 images; needed: 10 or more"),
        ("table", r"labels\.csv gives an image several labels; only metric map11"),
        ("no image", r"train/bee/3\.png cannot be read as an image"),
        ("cut", r"train/bee/3\.png cannot be read as an image"),
    ],
)
def test_folders_that_are_no_dataset(tmp_path: Path, what: str, message: str) -> None:
    folder = of_classes(tmp_path / "in")
    broken(folder, what)
    with pytest.raises(FolderError, match=message):
        register(folder, tmp_path / "cache")
    assert registered_names(tmp_path / "cache") == ()


def test_top1_scores_no_class_alone(tmp_path: Path) -> None:
    folder = of_classes(tmp_path / "in")
    broken(folder, "class unseen")
    assert load_dataset(register(folder, tmp_path, "top1"), cache=tmp_path).classes == (
        "ant",
        "bee",
        "cow",
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val,all/00.png,ant", "line 17: split is 'val'; allowed: train, test"),
        ("train,all/00.png,ant", r"line 17: all/00\.png is listed twice"),
        ("train,all/77.png,ant", r"line 17: .*in/all/77\.png is missing"),
        ("train,spare.png,", r"line 17: spare\.png has no labels"),
        ("train,spare.png", "line 17: expected 3 values"),
        ("train,spare.png,ant,bee", "line 17: expected 3 values"),
        ("test,spare.png,dog", "test holds classes that train lacks: dog"),
        ("train,spare.png,dog", "metric map11 scores each class, and test lacks: dog"),
    ],
)
def test_tables_that_are_no_dataset(tmp_path: Path, line: str, message: str) -> None:
    folder = of_labels(tmp_path / "in")
    picture(folder / "spare.png", 50)
    table = folder / "labels.csv"
    table.write_text(f"{table.read_text()}\n{line}\n")
    with pytest.raises(FolderError, match=message):
        register(folder, tmp_path, "map11")


def test_a_table_without_its_columns_or_missing(tmp_path: Path) -> None:
    folder = of_labels(tmp_path / "in")
    (folder / "labels.csv").write_text("file,labels\n")
    with pytest.raises(FolderError, match="must name the columns split,file,labels"):
        register(folder, tmp_path, "map11")
    (folder / "labels.csv").write_bytes(b"split,file,labels\ntrain,\xff.png,ant\n")
    with pytest.raises(FolderError, match=r"labels\.csv is no table of comma-separated UTF-8"):
        register(folder, tmp_path, "map11")
    (folder / "labels.csv").unlink()
    with pytest.raises(FolderError, match=r"several labels an image, and .*labels\.csv is missing"):
        register(folder, tmp_path, "map11")
