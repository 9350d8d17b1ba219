"""What a person sees while a study runs."""

import io

from rich.console import Console
from support import planned_cell

from simclr_lab.cell import EpochReport, Outcome, State
from simclr_lab.cli.progress import StudyProgress
from simclr_lab.recipes import named_recipe
from simclr_lab.training.events import (
    CellEnded,
    CellEpoch,
    CellFailed,
    CellStarted,
    CellStopped,
)
from simclr_lab.training.run_cell import CellTask


def task(seed: int) -> CellTask:
    return CellTask(planned_cell(seed).key, named_recipe("demo"), seed, "/storage")


def told(live: bool) -> tuple[StudyProgress, str]:
    stream = io.StringIO()
    console = Console(file=stream, width=200, force_terminal=live)
    progress = StudyProgress(console, total=3, reused=2, metric="linear/test_top1", live=live)
    with progress:
        for seed, value in ((0, 41.0), (1, 43.5)):
            key = task(seed).key
            progress.heard(task(seed), CellStarted(key, 0, 1, 1, ()))
            report = EpochReport(1, 10, 0, {"train/loss": 9.5, "cost/seconds": 1.0})
            progress.heard(task(seed), CellEpoch(key, report))
            metrics = {"linear/test_top1": value}
            progress.heard(task(seed), CellEnded(key, Outcome.OK, {}, metrics))
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


def test_one_bar_on_a_terminal() -> None:
    _, text = told(live=True)
    assert "3/3" in text
    assert "2 done, 0 running, 1 failed, 2 reused" in text


def test_pruned_cells_are_done_and_those_that_a_budget_stopped_are_not() -> None:
    stream = io.StringIO()
    progress = StudyProgress(Console(file=stream, width=200), 3, 0, "linear/val_top1", live=False)
    for seed, state in ((0, State.PRUNED), (1, State.UNFINISHED)):
        progress.heard(task(seed), CellStarted(task(seed).key, 0, 1, 1, ()))
        progress.heard(task(seed), CellStopped(task(seed).key, state))
    assert "0 done, 0 running, 0 failed, 0 reused, 1 pruned" in progress.summary()
    lines = stream.getvalue().splitlines()
    assert lines[1].startswith("[1/3] pruned")
    assert lines[3].startswith("[1/3] unfinished")
