"""Cells that are stopped on a real Ray: pruned ones are kept, groups leave nothing behind."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
import ray
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.util import placement_group_table
from ray_commands import LONG, cells, command, metrics, no_duplicate_rows, run

from simclr_lab.cell import State
from simclr_lab.data.sources import Dataset
from simclr_lab.identity import cell_key
from simclr_lab.recipes import named_recipe
from simclr_lab.training.capacity import Seat
from simclr_lab.training.cluster import connect, disconnect
from simclr_lab.training.events import (
    CellEnded,
    CellEpoch,
    CellEvent,
    CellStopped,
    EndEvent,
)
from simclr_lab.training.run_cell import CellTask
from simclr_lab.training.shared_data import share
from simclr_lab.training.trainer import run_on_workers
from simclr_lab.tuning.plan import Action, PlannedCell
from simclr_lab.tuning.reaper import leaked_groups, reap
from simclr_lab.tuning.run import run_cells
from simclr_lab.tuning.searcher import Unplaceable
from simclr_lab.tuning.source import Exhausted

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600)]

SWEEP = """
metric = "linear/val_top1"
trials = 4
[space]
loss.temperature = { min = 0.05, max = 1.0, scale = "log" }
projection.depth = { min = 0, max = 2 }
[[first]]
loss.temperature = 0.1
projection.depth = 2
[pruning]
name = "median"
n_startup_trials = 0
"""
FOUR = [*LONG[:-1], "epochs=4"]


def study_in(home: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(home / "optuna.journal")))
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def test_a_pruned_cell_is_kept_and_an_ablation_takes_it_to_the_end(tmp_path: Path) -> None:
    """Pruned in Optuna and in the ledger, its checkpoint there; then continued, bit for bit."""
    path, home = tmp_path / "pruned.toml", tmp_path / "home"
    path.write_text(SWEEP)
    code, output = run(command(path, tiny=FOUR), home)
    assert code == 0, output
    trials = study_in(home).get_trials()
    pruned = {t.user_attrs["key"]: t for t in trials if t.state is TrialState.PRUNED}
    assert pruned, "the median rule prunes one of four trials"
    assert f"{len(pruned)} pruned" in output
    records = cells(home)
    assert {key for key, r in records.items() if r.state is State.PRUNED} == pruned.keys()
    for key in pruned:
        assert list((home / "storage" / "cells" / key / "0").glob("step-*.pt"))
    code, output = run(command(path, tiny=FOUR), home)
    assert code == 0, output
    assert "0 done, 0 running, 0 failed, 4 reused" in output

    key, trial = next(iter(pruned.items()))
    ablation = tmp_path / "longer.toml"
    point = "\n".join(f"{name} = {value}" for name, value in trial.params.items())
    ablation.write_text(
        f'metric = "linear/val_top1"\nseeds = [0]\nreferences = false\n[baseline]\n{point}\n'
    )
    code, output = run(command(ablation, tiny=FOUR), home)
    assert code == 0, output
    assert f"{max(trial.intermediate_values)} reports kept" in output
    assert cells(home)[key].state is State.FINISHED
    code, output = run(command(ablation, tiny=FOUR), tmp_path / "undisturbed")
    assert code == 0, output
    assert metrics(home)[key] == metrics(tmp_path / "undisturbed")[key]
    no_duplicate_rows(tmp_path / "undisturbed")


@dataclass
class Listed:
    """A source that hands out a list of cells and stops those it is told to."""

    waiting: list[PlannedCell]
    stops: Callable[[PlannedCell, CellEvent], bool] = lambda cell, event: False
    ends: dict[str, EndEvent] = field(default_factory=dict)

    def next_cell(self) -> PlannedCell | Exhausted:
        return self.waiting.pop(0) if self.waiting else Exhausted()

    def reported(self, cell: PlannedCell, event: CellEvent) -> bool:
        return self.stops(cell, event)

    def ended(self, cell: PlannedCell, end: EndEvent) -> None:
        self.ends[cell.key] = end

    def remaining(self) -> int:
        return len(self.waiting)

    def widest(self) -> int:
        return max(cell.workers for cell in self.waiting)


def planned(seed: int, workers: int, epochs: int = 2, **changes: Any) -> PlannedCell:
    recipe = named_recipe("demo").with_fields(
        {
            "epochs": epochs,
            "data.pretrain_images": 640,
            "batch_size": 64,
            "evaluation.fit_images": 500,
            "encoder.channels": 8,
            **changes,
        }
    )
    return PlannedCell(cell_key(recipe, seed, "d"), "arm", seed, recipe, Action.RUN, workers)


@pytest.fixture(scope="module", params=[False, True], ids=["no dashboard", "dashboard"])
def cluster(request: pytest.FixtureRequest) -> Iterator[None]:
    """Two slots in this process."""
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.pop("SIMCLR_LAB_RAY_DASHBOARD", None)
    if request.param:
        os.environ["SIMCLR_LAB_RAY_DASHBOARD"] = "1"
    connect(2)
    yield
    disconnect()
    os.environ.pop("SIMCLR_LAB_RAY_DASHBOARD", None)


def reserved() -> list[dict[str, Any]]:
    return [row for row in placement_group_table().values() if row["state"] != "REMOVED"]


def group_processes() -> list[psutil.Process]:
    """Workers and controllers of Ray Train groups that this process's cluster runs."""
    names = ("RayTrainWorker", "TrainController")
    children = psutil.Process().children(recursive=True)
    return [child for child in children if any(name in title(child) for name in names)]


def title(process: psutil.Process) -> str:
    """What a process calls itself; nothing once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def gone(look: Callable[[], list[Any]], seconds: float = 60.0) -> bool:
    """Whether nothing is left, within a deadline; Ray ends processes in its own time."""
    until = time.monotonic() + seconds
    while look() and time.monotonic() < until:
        time.sleep(0.2)
    return not look()


def test_mixed_sizes_share_two_slots_and_a_stopped_group_leaves_nothing(
    cluster, cifar10: Dataset, tmp_path: Path
) -> None:
    listed = [planned(0, 1), planned(0, 2, epochs=6), planned(1, 1), planned(1, 2), planned(2, 1)]
    first = listed[1]
    source = Listed(
        list(listed),
        stops=lambda cell, event: cell.key == first.key and isinstance(event, CellEpoch),
    )
    run_cells(source, cifar10, storage=tmp_path)
    assert source.ends.keys() == {cell.key for cell in listed}
    assert source.ends[first.key] == CellStopped(first.key, State.PRUNED)
    ended = [end for key, end in source.ends.items() if key != first.key]
    assert all(isinstance(end, CellEnded) for end in ended), ended
    assert list((tmp_path / "cells" / first.key / "0").glob("step-*.pt"))
    assert gone(reserved)
    assert gone(group_processes)
    assert not list((tmp_path / "scratch").iterdir())


def test_a_group_that_does_not_leave_is_killed(cluster, cifar10: Dataset, tmp_path: Path) -> None:
    """No grace at all: the group is in the middle of an epoch."""

    @ray.remote(num_cpus=0)
    class Trial:
        def begin(self, task: CellTask, shared: dict[str, Any]) -> CellEvent:
            self.events = run_on_workers(task, shared, workers=2, seat=Seat(), grace=0.0)
            return next(self.events)

        def leave(self) -> None:
            self.events.close()

    cell, trial = planned(0, 2, epochs=50), Trial.remote()
    task = CellTask(cell.key, cell.recipe, cell.seed, str(tmp_path))
    assert ray.get(trial.begin.remote(task, share(cifar10)), timeout=120)
    assert group_processes()
    ray.get(trial.leave.remote(), timeout=120)
    assert gone(reserved)
    assert gone(group_processes)


def test_what_a_dead_trial_leaves_behind_is_found_and_freed(cluster) -> None:
    @ray.remote(num_cpus=0)
    class Controller:
        def reserve(self) -> None:
            group = ray.util.placement_group([{"CPU": 1}])
            ray.get(group.ready())

    controller = Controller.remote()
    ray.get(controller.reserve.remote())
    assert leaked_groups() == []
    ray.kill(controller)
    until = time.monotonic() + 60
    while not reap():
        assert time.monotonic() < until, "the leaked group was never seen"
        time.sleep(0.2)
    assert gone(reserved)


def test_a_shape_that_cannot_be_placed_is_refused_before_anything_starts(
    cluster, cifar10: Dataset, tmp_path: Path
) -> None:
    source = Listed([planned(0, 1), planned(1, 4)])
    with pytest.raises(Unplaceable, match=r"4 workers.*2 slots"):
        run_cells(source, cifar10, storage=tmp_path)
    assert len(source.waiting) == 2
    assert not (tmp_path / "cells").exists()
