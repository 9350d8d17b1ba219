"""Bad input ends with exit code 2 and one clear message; nothing is launched or recorded."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from simclr_lab.cli.app import app

ABLATION = 'metric = "linear/test_top1"\nseeds = [0]\n[[grid]]\n'
SWEEP = 'metric = "linear/val_top1"\ntrials = 2\n[space]\n'

FILES = {
    "a metric that its dataset is not scored by": (
        'metric = "transfer_fashion_mnist/test_map11"\nseeds = [0]',
        "fashion_mnist is scored by top1",
    ),
    "a typo in a field": (ABLATION + "loss.temprature = [0.1]", "loss.temprature"),
    "a negative temperature": (ABLATION + "loss.temperature = [-1.0]", "loss.temperature"),
    "a string for a number": (ABLATION + 'loss.temperature = ["hot"]', "loss.temperature"),
    "a NaN": (ABLATION + "loss.temperature = [nan]", "loss.temperature"),
    "a seed among the arms": (ABLATION + "seed = [0, 1]", "seed"),
    "a test metric in a sweep": (
        SWEEP.replace("val", "test") + "loss.temperature = { min = 0.1, max = 1.0 }",
        "metric",
    ),
    "an inverted range": (SWEEP + "loss.temperature = { min = 1.0, max = 0.1 }", "temperature.max"),
    "a broken file": ("metric = [", "is not TOML"),
    "no file at all": (None, "cannot be read"),
    "bytes that are no text": (b"\xff\xfe\x00", "is not UTF-8"),
}

OPTIONS = {
    "a dataset that nobody knows": (
        ["--scale", "demo", "--set", 'evaluation.protocols=["transfer_mars"]'],
        "transfers to 'mars'; allowed: cifar10, cifar100, fashion_mnist",
    ),
    "a protocol that nobody knows": (
        ["--scale", "demo", "--set", 'evaluation.protocols=["magic"]'],
        "holds 'magic'; allowed: ridge, linear",
    ),
    "a spectrum of a deep head": (
        ["--scale", "demo", "--set", 'evaluation.protocols=["spectrum"]'],
        "a linear head (depth 1) as wide as h, 128",
    ),
    "an unknown scale": (["--scale", "huge"], "allowed: demo, laptop"),
    "an unknown field": (["--scale", "demo", "--set", "los.temperature=1"], "los.temperature"),
    "a bad value": (["--scale", "demo", "--set", "loss.temperature=nan"], "loss.temperature"),
    "no assignment": (["--scale", "demo", "--set", "loss"], "field=value"),
    "bad seeds": (["--scale", "demo", "--seeds", "3..1"], "--seeds"),
    "a rule without its rate": (
        ["--scale", "demo", "--set", "optimizer.learning_rate_rule=linear"],
        "optimizer.learning_rate_rule",
    ),
    "a warm-up that never ends": (["--scale", "demo", "--set", "optimizer.warmup=1.0"], "warmup"),
}


def refused(arguments: list[str], home: Path) -> str:
    result = CliRunner().invoke(app, ["run", *arguments])
    assert result.exit_code == 2, result.output
    assert list(home.iterdir()) == []  # no ledger, no lease, no folder
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    return result.stderr


@pytest.mark.parametrize("what", FILES)
def test_study_files(own_home: Path, tmp_path: Path, what: str) -> None:
    content, hint = FILES[what]
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = refused([str(path), "--scale", "demo"], own_home)
    assert hint in message
    assert "study.toml" in message


@pytest.mark.parametrize("what", OPTIONS)
def test_options(own_home: Path, tmp_path: Path, what: str) -> None:
    options, hint = OPTIONS[what]
    path = tmp_path / "study.toml"
    path.write_text(ABLATION + "loss.temperature = [0.1]")
    assert hint in refused([str(path), *options], own_home)


def test_a_recipe_that_cannot_be_pretrained(own_home: Path) -> None:
    result = CliRunner().invoke(app, ["pretrain", "--scale", "demo", "--set", "loss.margin=-1.0"])
    assert result.exit_code == 2
    assert "loss.margin: is -1.0" in result.stderr
    assert list(own_home.iterdir()) == []


def test_unknown_datasets(own_home: Path) -> None:
    for command in ("fetch", "verify"):
        result = CliRunner().invoke(app, ["data", command, "cifar11"])
        assert result.exit_code == 2
        assert "allowed: cifar10" in result.stderr


def test_a_ledger_that_is_away_is_exit_4(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    path = tmp_path / "study.toml"
    path.write_text(ABLATION + "loss.temperature = [0.1]")
    result = CliRunner().invoke(app, ["run", str(path), "--scale", "demo"])
    assert result.exit_code == 4
    assert "http://127.0.0.1:9 cannot be reached" in result.stderr
