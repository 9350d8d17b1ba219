"""What a person sees while a study runs."""

import io

from rich.console import Console
from support import planned_cell

from simclr_lab.cell import EpochReport, Outcome
from simclr_lab.cli.progress import StudyProgress
from simclr_lab.recipes import named_recipe
from simclr_lab.training.events import CellEnded, CellEpoch, CellFailed, CellStarted
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
