"""What a person sees while a study runs."""

import io
import sys

import pytest
from rich.console import Console
from support import planned_cell

from simclr_lab.cell import EpochReport, Outcome, State
from simclr_lab.cli.exits import output
from simclr_lab.cli.live import LiveTable, drawn
from simclr_lab.cli.progress import Lines, StudyProgress
from simclr_lab.cli.quiet import ray_in_a_file
from simclr_lab.recipes import named_recipe
from simclr_lab.training.events import (
    CellEnded,
    CellEpoch,
    CellFailed,
    CellStarted,
    CellStopped,
)
from simclr_lab.training.run_cell import CellTask

METRIC = "linear/test_top1"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def task(seed: int) -> CellTask:
    return CellTask(planned_cell(seed).key, named_recipe("demo"), seed, "/storage")


def epoch(seed: int, number: int, **metrics: float) -> CellEpoch:
    named = {name.replace("__", "/"): value for name, value in metrics.items()}
    return CellEpoch(task(seed).key, EpochReport(number, 10 * number, 0, named))


def console(stream: io.StringIO, *, terminal: bool = False) -> Console:
    return Console(file=stream, width=200, force_terminal=terminal)


def told(live: bool) -> tuple[StudyProgress, str]:
    stream = io.StringIO()
    screen = console(stream, terminal=live)
    view = LiveTable(screen) if live else Lines(screen)
    progress = StudyProgress(view, total=3, reused=2, metric=METRIC)
    with progress:
        for seed, value in ((0, 41.0), (1, 43.5)):
            key = task(seed).key
            progress.heard(task(seed), CellStarted(key, 0, 1, 1, ()))
            progress.heard(task(seed), epoch(seed, 1, train__loss=9.5, cost__seconds=1.0))
            progress.heard(task(seed), CellEnded(key, Outcome.OK, {}, {METRIC: value}))
        progress.heard(task(2), CellStarted(task(2).key, 0, 1, 1, ()))
        progress.heard(task(2), CellFailed(task(2).key, "out of memory"))
    return progress, stream.getvalue()


def test_plain_lines_without_a_terminal() -> None:
    progress, text = told(live=False)
    assert progress.summary().startswith("2 done, 0 running, 1 failed, 2 reused, best")
    assert "linear/test_top1 43.50" in progress.summary()
    lines = text.splitlines()
    assert len(lines) == 8
    assert all(line.startswith("[") for line in lines)
    assert "out of memory" in lines[-1]
    assert "\x1b" not in text
    assert "cost/" not in text


def test_a_table_on_a_terminal_and_no_lines() -> None:
    _, text = told(live=True)
    assert "3 of 3 cells: 2 done, 0 running, 1 failed, 2 reused" in text
    assert "reported" not in text


def test_the_table_shows_where_each_cell_is_and_the_time_it_needs() -> None:
    clock = Clock()
    progress = StudyProgress(
        Lines(console(io.StringIO())), 9, 0, METRIC, arm=lambda key: "[0.5]", clock=clock
    )
    before = (EpochReport(1, 10, 0, {"train/loss": 9.0}),)
    progress.heard(task(7), CellStarted(task(7).key, 0, 1, 1, before))
    stream = io.StringIO()
    console(stream).print(drawn(progress))
    assert "1 of 3" in stream.getvalue()
    assert "min" not in stream.getvalue()  # an epoch of an earlier launch says nothing of this one
    clock.now = 300.0
    progress.heard(task(7), epoch(7, 2, train__loss=8.25, ridge__val_top1=31.5))
    stream = io.StringIO()
    console(stream).print(drawn(progress))
    row, counts = stream.getvalue().splitlines()[1:]
    assert row.split() == ["[0.5]", "7", "2", "of", "3", "ridge/val_top1", "31.50", "5", "min"]
    assert counts.startswith("0 of 9 cells: 0 done, 1 running")


def test_many_running_cells_are_counted_and_not_listed() -> None:
    progress = StudyProgress(Lines(console(io.StringIO())), 30, 0, METRIC)
    for seed in range(25):
        progress.heard(task(seed), CellStarted(task(seed).key, 0, 1, 1, ()))
    stream = io.StringIO()
    console(stream).print(drawn(progress))
    assert "... and 5 more" in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1 + 20 + 2


def test_pruned_cells_are_done_and_those_that_a_budget_stopped_are_not() -> None:
    stream = io.StringIO()
    progress = StudyProgress(Lines(console(stream)), 3, 0, "linear/val_top1")
    for seed, state in ((0, State.PRUNED), (1, State.UNFINISHED)):
        progress.heard(task(seed), CellStarted(task(seed).key, 0, 1, 1, ()))
        progress.heard(task(seed), CellStopped(task(seed).key, state))
    assert "0 done, 0 running, 0 failed, 0 reused, 1 pruned, 1 unfinished" in progress.summary()
    lines = stream.getvalue().splitlines()
    assert lines[1].startswith("[1/3] pruned")
    assert lines[3].startswith("[1/3] unfinished")


def test_what_others_print_under_the_table_goes_to_the_log(
    own_home, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray prints from threads and callbacks: nothing of it may reach the terminal."""
    stream = io.StringIO()
    progress = StudyProgress(LiveTable(console(stream, terminal=True)), 3, 0, METRIC)
    monkeypatch.setattr(output, "_file", None)
    with ray_in_a_file("study") as log, progress:
        print("(autoscaler) a very important message")
        print("to the other stream", file=sys.stderr)
    monkeypatch.setattr(output, "_file", None)
    assert "important" not in stream.getvalue()
    assert capsys.readouterr() == ("", "")
    assert log.read_text() == "(autoscaler) a very important message\nto the other stream\n"
