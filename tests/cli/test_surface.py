"""What users type: commands and options are a promise; the plan; where things are."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from simclr_lab.cli.app import app
from simclr_lab.cli.request import Request, check, parse_assignments, parse_seeds
from simclr_lab.fields import FieldError

LAUNCH = {
    *("scale", "set_", "seeds", "workers"),
    *("images_per_worker", "cpus_per_worker", "gpu_fraction"),
    *("retry_failed", "force", "no_diff", "dry_run"),
    *("probe", "prices", "max_cells", "max_hours", "max_worker_hours", "json", "notify"),
}
PROMISED = {
    "run": {"study", *LAUNCH},
    "pretrain": LAUNCH,
    "status": {"study", "scale", "set_", "seeds", "json"},
    "replay": {"key", "no_diff"},
    "forget": {"target", "scale", "set_", "force", "dry_run"},
    "clean": {"older_than", "dry_run"},
    "export": {"path"},
    "import": {"path"},
    "migrate": set(),
    "data fetch": {"name", "offline"},
    "data verify": {"name"},
    "data register": {"name", "folder", "size", "metric"},
    "data list": set(),
    "compare": {"first", "second", "protocol"},
    "ui": {"port"},
    "where": {"out"},
}

ROOT = Path(__file__).resolve().parents[2]
SIZES = """
metric = "linear/test_top1"
seeds = [0]
references = false
[[grid]]
batch_size = [64, 128]
optimizer.learning_rate = [0.1]
"""


def commands(group, prefix: str = "") -> dict[str, set[str]]:
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, f"{name} ")
        else:
            found[prefix + name] = {parameter.name for parameter in command.params} - {"help"}
    return found


def test_commands_and_options() -> None:
    assert commands(typer.main.get_command(app)) == PROMISED


@pytest.mark.parametrize(
    ("text", "seeds"), [("0..3", (0, 1, 2, 3)), ("5", (5,)), ("2,0", (2, 0)), ("7..7", (7,))]
)
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "a", "3..1", "0,0", "-1", "0..100000", "1.5", "..", "1..2..3"]
)
def test_bad_seeds(text: str) -> None:
    with pytest.raises(FieldError, match="--seeds"):
        parse_seeds(text)


def test_assignments_are_toml_and_bare_words_are_text() -> None:
    given = ("epochs=3", "loss.normalize=false", "optimizer.name=sgd", "data.dataset='cifar10'")
    assert parse_assignments(given) == {
        "epochs": 3,
        "loss.normalize": False,
        "optimizer.name": "sgd",
        "data.dataset": "cifar10",
    }


def test_dry_run_prints_the_plan_and_records_nothing(own_home: Path) -> None:
    file = ROOT / "search_spaces" / "ablations" / "demo_temperature.toml"
    result = CliRunner().invoke(app, ["run", str(file), "--scale", "demo", "--dry-run"])
    assert result.exit_code == 0
    assert "9 cells: 9 to run" in result.stdout
    assert "loss.temperature=0.5" in result.stdout
    assert {path.name for path in own_home.iterdir()} <= {"mlflow.db", "mlflow.db.lock"}
    from simclr_lab.tracking.ledger import Ledger

    assert Ledger().cells() == {}


def test_sizes_are_in_the_plan(own_home: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")  # of a cluster, which a plan does not ask
    path = tmp_path / "sizes.toml"
    path.write_text(SIZES)

    def shown(*options: str) -> str:
        arguments = ["run", str(path), "--scale", "demo", "--dry-run", *options]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    auto = shown("--workers", "auto", "--images-per-worker", "64", "--gpu-fraction", "1/2")
    assert "batch_size=64, optimizer.learning_rate=0.1, 1/2 of a GPU\n" in auto
    assert "batch_size=128, optimizer.learning_rate=0.1, 2 workers\n" in auto
    assert "optimizer.learning_rate=0.1, 3 threads a worker\n" in shown("--cpus-per-worker", "3")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "auto"], "--workers: is auto"),
        (["--workers", "2", "--gpu-fraction", "0.5"], "--gpu-fraction: is 0.5 with --workers 2"),
        (["--gpu-fraction", "0.4"], "--gpu-fraction: is '0.4'; allowed: 1, 0.5, 1/3"),
    ],
)
def test_sizes_that_make_no_sense_end_at_once(options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["pretrain", "--scale", "demo", "--dry-run", *options])
    assert result.exit_code == 2
    assert message in result.output


def test_a_changed_scale_has_a_name_of_its_own_however_long() -> None:
    def scale(*assignments: str) -> str:
        return check(Request(None, "demo", assignments)).scale

    assert scale() == "demo"
    assert scale("epochs=2", "batch_size=64") == scale("batch_size=64", "epochs=2")
    assert scale("epochs=2") == "demo+epochs=2"
    many = tuple(f"optimizer.weight_decay={1e-6 * i:.12f}" for i in range(1, 9))
    assert len(scale(*many)) < 40
    assert scale(*many) != scale(*many[1:])


def test_pretrain_is_a_study_of_one_arm(own_home: Path) -> None:
    arguments = ["pretrain", "--scale", "demo", "--set", "loss.name=margin_triplet", "--dry-run"]
    result = CliRunner().invoke(
        app, [*arguments, "--set", "loss.semi_hard=true", "--seeds", "0..1"]
    )
    assert result.exit_code == 0, result.output
    assert "2 cells: 2 to run" in result.stdout


def test_dry_run_of_a_sweep_shows_its_space(own_home: Path) -> None:
    file = ROOT / "search_spaces" / "sweeps" / "demo.toml"
    result = CliRunner().invoke(app, ["run", str(file), "--scale", "demo", "--dry-run"])
    assert result.exit_code == 0
    assert "6 trials wanted, 0 done" in result.stdout
    assert "batch_size" in result.stdout


def test_where_names_every_place(own_home: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["where", "--out", str(tmp_path)])
    assert result.exit_code == 0
    assert str(tmp_path) in result.stdout
    assert str(own_home / "mlflow.db") in result.stdout
    assert "simclr-lab ui" in result.stdout
