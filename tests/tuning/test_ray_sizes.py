"""Cells of every size on a real Ray whose GPUs are only counted: the cells compute on the CPU."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from ray_commands import TINY, cells, command, no_duplicate_rows, run
from support import FakeSource

from simclr_lab.cell import State
from simclr_lab.data.sources import Dataset
from simclr_lab.identity import cell_key
from simclr_lab.recipes import named_recipe
from simclr_lab.training.capacity import SLOT
from simclr_lab.training.cluster import connect, disconnect
from simclr_lab.training.events import CellEpoch, CellEvent, CellStarted, CellStopped, EndEvent
from simclr_lab.tuning.plan import Action, PlannedCell
from simclr_lab.tuning.run import run_cells
from simclr_lab.tuning.searcher import Unplaceable
from simclr_lab.tuning.source import Exhausted

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600)]

QUARTER = Fraction(1, 4)
MIXED = """
metric = "linear/test_top1"
seeds = [0, 1]
references = false
[[grid]]
batch_size = [64, 128]
optimizer.learning_rate = [0.1]
"""


def planned(seed: int) -> PlannedCell:
    """A cell that runs for a long time unless it is stopped."""
    changes = {"epochs": 200, "data.pretrain_images": 640, "batch_size": 64, "encoder.channels": 8}
    recipe = named_recipe("demo").with_fields(changes)
    return PlannedCell(
        cell_key(recipe, seed, "d"), "arm", seed, recipe, Action.RUN, gpu_share=QUARTER
    )


def until(holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold within a deadline; Ray counts what is free in its own time."""
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.2)
    return holds()


@dataclass
class Together:
    """A source whose cells go on until ``count`` of them run at once, and end soon after that."""

    waiting: list[PlannedCell]
    count: int
    running: set[str] = field(default_factory=set)
    most: int = 0
    free_gpus: float | None = None
    threads: set[int] = field(default_factory=set)
    ends: dict[str, EndEvent] = field(default_factory=dict)

    def next_cell(self) -> PlannedCell | Exhausted:
        return self.waiting.pop(0) if self.waiting else Exhausted()

    def reported(self, cell: PlannedCell, event: CellEvent) -> bool:
        if isinstance(event, CellStarted):
            self.running.add(cell.key)
            self.threads.add(event.threads)
            self.most = max(self.most, len(self.running))
            if self.most == self.count and self.free_gpus is None:
                assert until(lambda: ray.available_resources().get("GPU", 0.0) == 0)
                self.free_gpus = ray.available_resources().get("GPU", 0.0)
        return isinstance(event, CellEpoch) and self.most >= self.count

    def ended(self, cell: PlannedCell, end: EndEvent) -> None:
        self.running.discard(cell.key)
        self.ends[cell.key] = end

    def remaining(self) -> int:
        return len(self.waiting)

    def widest(self) -> int:
        return 1


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A private Ray with one GPU that is not there."""
    monkeypatch.delenv("SIMCLR_LAB_RAY_DASHBOARD", raising=False)
    connect(2, gpus=1)
    yield
    disconnect()


def test_four_quarters_share_a_gpu_and_a_fifth_waits(
    one_gpu, cifar10: Dataset, tmp_path: Path
) -> None:
    assert ray.cluster_resources()[SLOT] == 1
    listed = [planned(seed) for seed in range(5)]
    source = Together(list(listed), count=4)
    run_cells(source, cifar10, storage=tmp_path)
    assert source.ends == {cell.key: CellStopped(cell.key, State.PRUNED) for cell in listed}
    assert (source.most, source.free_gpus, source.threads) == (4, 0.0, {1})

    wide = replace(planned(9), workers=2)
    with pytest.raises(Unplaceable, match="2 workers, and the cluster has 1 slots"):
        run_cells(FakeSource([wide]), cifar10, storage=tmp_path)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster with the dashboard, whose head runs no cells; commands join it."""
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": True}
    )
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    cluster.shutdown()


def test_mixed_sizes_on_the_nodes_of_a_cluster_with_the_dashboard(
    joined: Cluster, tmp_path: Path
) -> None:
    """Halves of a GPU beside cells of two workers, which take a whole one on each of two nodes."""
    path, home = tmp_path / "mixed.toml", tmp_path / "home"
    path.write_text(MIXED)
    tiny = [setting for setting in TINY if not setting.startswith("batch_size")]
    sizes = ["--workers", "auto", "--images-per-worker", "64", "--gpu-fraction", "1/2"]
    code, output = run(command(path, *sizes, tiny=tiny), home)
    assert code == 4, output
    assert f"""--resources='{{"{SLOT}": """ in output

    for _ in range(2):
        joined.add_node(num_cpus=1, num_gpus=1, resources={SLOT: 1})
    joined.wait_for_nodes()
    code, output = run(command(path, *sizes, tiny=tiny), home)
    assert code == 0, output
    found = [(r.recipe["batch_size"], r.world_size, r.state) for r in cells(home).values()]
    expected = [(64, 1, State.FINISHED)] * 2 + [(128, 2, State.FINISHED)] * 2
    assert sorted(found) == expected
    no_duplicate_rows(home)
