"""``simclr-lab data``: register a folder, list, verify; each way it can end."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from simclr_lab.cli.app import app


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIMCLR_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for split, n in (("train", 6), ("test", 1)):
        for name in ("ant", "bee"):
            (tmp_path / "farm" / split / name).mkdir(parents=True)
            for number in range(n):
                pixels = generator.integers(0, 256, (10, 10, 3), dtype=np.uint8)
                file = tmp_path / "farm" / split / name / f"{number}.png"
                Image.fromarray(pixels).save(file)
    return tmp_path / "farm"


def data(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", *arguments])


def test_register_says_how_to_use_it(folder: Path, cache: Path) -> None:
    result = data("register", "farm", str(folder), "--size", "8")
    assert result.exit_code == 0, result.output
    name = result.stdout.split(":")[0]
    assert (cache / "folders" / f"{name}.npz").exists()
    assert "12 training and 2 test images of 2 classes, 8 x 8, metric top1" in result.stdout
    assert f"--set 'evaluation.protocols=[\"transfer_{name}\"]'" in result.stdout
    for command in ("fetch", "verify"):
        again = data(command, name)
        assert again.exit_code == 0, again.output
        assert "verified" in again.stdout


def test_list_names_everything(folder: Path, cache: Path) -> None:
    name = data("register", "farm", str(folder), "--size", "8").stdout.split(":")[0]
    lines = data("list").stdout.splitlines()
    header = "name  train  test  size  classes  metric  cached  digest"
    assert lines[0].split() == header.split()
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert list(rows) == ["cifar10", "cifar100", "fashion_mnist", name]
    assert rows["cifar100"][:-1] == ["50000", "10000", "32", "x", "32", "100", "top1", "no"]
    assert rows[name][:-1] == ["12", "2", "8", "x", "8", "2", "top1", "yes"]
    assert name.endswith(rows[name][-1][:8])
    (cache / "folders" / f"{name}.json").write_text("torn")
    assert f"damaged; see: simclr-lab data verify {name}" in data("list").stdout


def test_a_damaged_folder_is_exit_4(folder: Path, cache: Path) -> None:
    name = data("register", "farm", str(folder), "--size", "8").stdout.split(":")[0]
    (cache / "folders" / f"{name}.npz").write_bytes(b"torn")
    for command in ("fetch", "verify"):
        result = data(command, name)
        assert result.exit_code == 4
        assert "run: simclr-lab data register farm FOLDER" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Farm", "8", "top1"), "name is 'Farm'; allowed: small letters"),
        (("farm", "2", "top1"), "size is 2; allowed: 8 to 1024"),
        (("farm", "8", "f1"), "metric is 'f1'; allowed: top1, mean_per_class, map11"),
        (("farm", "8", "map11"), "labels.csv is missing"),
    ],
)
def test_what_is_no_dataset_is_exit_2(folder: Path, cache: Path, arguments, message: str) -> None:
    name, size, metric = arguments
    result = data("register", name, str(folder), "--size", size, "--metric", metric)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not cache.exists()
