"""Who else is told: a command, and machines that read standard output."""

import io
import json
import shlex
import sys
from pathlib import Path

import pytest
import typer
from support import planned_cell
from typer.testing import CliRunner

from simclr_lab.cell import EpochReport, Outcome, State
from simclr_lab.cli import run as run_module
from simclr_lab.cli.announce import Announcer
from simclr_lab.cli.app import app
from simclr_lab.cli.exits import Exit, leave
from simclr_lab.cli.machine import JsonLines
from simclr_lab.cli.notify import Notifier, parse_command
from simclr_lab.cli.progress import Lines, StudyProgress
from simclr_lab.fields import FieldError
from simclr_lab.recipes import named_recipe
from simclr_lab.training.events import (
    CellEnded,
    CellEpoch,
    CellFailed,
    CellStarted,
    CellStopped,
    FailureKind,
)
from simclr_lab.training.run_cell import CellTask

NOTED = """
import json, os, sys
line = {"status": os.environ["SIMCLR_LAB_STATUS"], "study": os.environ["SIMCLR_LAB_STUDY"]}
line["summary"] = json.load(sys.stdin)
line["arguments"] = sys.argv[2:]
open(sys.argv[1], "a").write(json.dumps(line) + "\\n")
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes with a space.jsonl"


@pytest.fixture
def command(tmp_path: Path, notes: Path) -> tuple[str, ...]:
    script = tmp_path / "note.py"
    script.write_text(NOTED)
    return parse_command(shlex.join([sys.executable, str(script), str(notes), "a b", "$HOME; ls"]))


def read(notes: Path) -> list[dict]:
    return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []


def task(seed: int) -> CellTask:
    return CellTask(planned_cell(seed).key, named_recipe("demo"), seed, "/storage")


def announcer(command: tuple[str, ...] = (), stream: io.StringIO | None = None) -> Announcer:
    told = Announcer("tiny", "demo", JsonLines(stream) if stream else None, Notifier(command, "t"))
    told.progress = StudyProgress(Lines(typer_console()), 2, 1, "linear/test_top1")
    told.arm = lambda key: "an arm"
    return told


def typer_console():
    from rich.console import Console

    return Console(file=io.StringIO())


def leaves(told: Announcer, code: int) -> None:
    with pytest.raises(typer.Exit), told.told_of_the_end():
        raise typer.Exit(code)


@pytest.mark.parametrize(("code", "status"), [(0, "done"), (1, "failed"), (3, "stopped")])
def test_the_end_is_told_with_its_status(command, notes: Path, code: int, status: str) -> None:
    leaves(announcer(command), code)
    (note,) = read(notes)
    assert (note["status"], note["study"]) == (status, "t")
    assert note["arguments"] == ["a b", "$HOME; ls"]  # no shell has read them
    summary = note["summary"]
    assert summary["exit_code"] == code
    assert summary["status"] == status
    assert summary["reused"] == 1


def test_the_first_failed_cell_is_told_at_once_and_the_second_is_not(command, notes) -> None:
    told = announcer(command)
    for seed in (0, 1):
        failed = CellFailed(task(seed).key, "no memory", FailureKind.OUT_OF_MEMORY)
        told.progress.heard(task(seed), failed)
        told.heard(task(seed), failed)
    leaves(told, Exit.CELLS_FAILED)
    first, last = read(notes)
    assert first["status"] == last["status"] == "failed"
    assert first["summary"]["failure"]["key"] == task(0).key
    assert first["summary"]["failure"]["kind"] == "out_of_memory"
    assert len(last["summary"]["failed"]) == 2


def test_a_crash_is_told_as_a_failure(command, notes: Path) -> None:
    with pytest.raises(ZeroDivisionError), announcer(command).told_of_the_end():
        raise ZeroDivisionError
    assert [note["status"] for note in read(notes)] == ["failed"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["/no/such/program"], "No such file"),
        ([sys.executable, "-c", "import sys; sys.exit('I am away')"], "exit code 1: I am away"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "timed out"),
    ],
)
def test_a_failing_notifier_is_a_warning(words: list[str], hint: str, capsys) -> None:
    told = announcer(tuple(words))
    told.notifier.deadline = 1.0 if "sleep" in words[-1] else 60.0
    leaves(told, Exit.DONE)  # the code is the study's
    message = capsys.readouterr().err
    assert message.startswith("--notify ")
    assert hint in message


@pytest.mark.parametrize("text", ["", "   ", "say 'hello"])
def test_commands_that_are_none_are_refused(own_home, text: str) -> None:
    with pytest.raises(FieldError, match="--notify"):
        parse_command(text)
    result = CliRunner().invoke(app, ["pretrain", "--scale", "demo", "--notify", text])
    assert result.exit_code == 2
    assert list(own_home.iterdir()) == []


def test_machines_read_one_object_a_line() -> None:
    stream = io.StringIO()
    told = announcer(stream=stream)
    key = task(0).key
    told.plan({"launches": 1})
    events = [
        CellStarted(key, 0, 2, 1, ()),
        CellEpoch(key, EpochReport(1, 10, 0, {"train/loss": float("nan")})),
        CellStopped(key, State.PRUNED),
        CellEnded(key, Outcome.OK, {}, {"linear/test_top1": 40.0}),
        CellFailed(key, "lost"),
    ]
    for event in events:
        told.progress.heard(task(0), event)
        told.heard(task(0), event)
    told.stopped_by = "--max-cells 1 is reached"
    leaves(told, Exit.STOPPED)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    names = ["plan", "started", "reported", "pruned", "finished", "failed", "summary"]
    assert [line["event"] for line in lines] == names
    assert lines[1] | {"key": key, "arm": "an arm", "seed": 0, "workers": 2} == lines[1]
    assert lines[2]["metrics"] == {"train/loss": None}
    assert lines[4]["metrics"] == {"linear/test_top1": 40.0}
    assert lines[-1]["done"] == 1
    assert lines[-1]["best"] == {"metric": "linear/test_top1", "value": 40.0, "key": key}
    assert lines[-1]["status"] == "stopped"
    assert lines[-1]["stopped_by"] == "--max-cells 1 is reached"


def test_a_plan_for_machines_leaves_standard_output_to_them(own_home: Path) -> None:
    arguments = ["pretrain", "--scale", "demo", "--dry-run", "--json", "--seeds", "0..1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    plan = json.loads(line)
    assert plan["event"] == "plan"
    assert plan["counts"] == {"run": 2}
    assert [cell["seed"] for cell in plan["cells"]] == [0, 1]
    assert plan["worker_hours"] is None
    assert plan["disk_bytes"] > 0
    assert "2 cells: 2 to run" in result.stderr
    plain = CliRunner().invoke(app, arguments[:4])
    assert "1 cells: 1 to run" in plain.stdout  # and afterwards it is a person's again


def test_what_is_unfit_is_told_too(own_home, command, notes: Path, monkeypatch) -> None:
    def unfit(checked, announcer) -> None:
        leave(Exit.UNFIT, "no space")

    monkeypatch.setattr(run_module, "_run", unfit)
    result = CliRunner().invoke(
        app, ["pretrain", "--scale", "demo", "--json", "--notify", shlex.join(command)]
    )
    assert result.exit_code == 4
    assert json.loads(result.stdout)["exit_code"] == 4
    assert [note["status"] for note in read(notes)] == ["failed"]
