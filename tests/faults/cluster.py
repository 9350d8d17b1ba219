"""A Ray of two nodes on this machine that every command of the suite joins.

The second node can be killed and added again. Each node has one processor and one slot, so that a
cell on two workers needs both.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from ray._private.node import Node
from ray._raylet import GcsClientOptions
from ray.cluster_utils import Cluster
from ray_commands import ROOT

from simclr_lab.training.cluster import SLOT

HOOKS = Path(__file__).parent / "hooks"
TRIAL = ("Trainable", "CellTrial")
"""Names in the title of a trial's process: within a step, and between two."""

WORKING = (*TRIAL, "RayTrainWorker", "TrainController")
"""Names in the titles of processes that compute a cell or steer one."""

_SETTINGS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}


class TwoNodes:
    """The running cluster: where it is, who works in it, and what is left over in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        node: dict[str, Any] = {
            "num_cpus": 1,
            "resources": {SLOT: 1.0},
            "object_store_memory": 400 * 2**20,
        }
        self._node = node
        with _settings():
            self._cluster = Cluster(
                initialize_head=True,
                head_node_args=node | {"include_dashboard": False, "temp_dir": str(folder)},
            )
        self._second: Node | None = None
        self.add_second()

    @property
    def address(self) -> str:
        """For ``RAY_ADDRESS``."""
        return str(self._cluster.address)

    def add_second(self) -> None:
        """Start the second node."""
        if self._second is None:
            with _settings():
                self._second = self._cluster.add_node(**self._node)

    def kill_second(self) -> None:
        """SIGKILL to the second node's raylet; what ran there dies with it."""
        assert self._second is not None
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._second = None

    def processes(self, *names: str) -> list[psutil.Process]:
        """Processes of either node whose title holds one of the names; all without any."""
        found = []
        for node in self._cluster.list_all_nodes():
            for info in (each for kind in node.all_processes.values() for each in kind):
                found += _family(info.process.pid)
        if not names:
            return found
        return [p for p in found if any(name in title(p) for name in names)]

    def reserved(self) -> list[str]:
        """Placement groups that hold something."""
        state = self._cluster.global_state
        state._initialize_global_state(
            GcsClientOptions.create(
                self.address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False
            )
        )
        rows = state.placement_group_table().values()
        return [row["placement_group_id"] for row in rows if row["state"] != "REMOVED"]

    def close(self) -> None:
        """End every process of the cluster."""
        processes = self.processes()
        self._cluster.shutdown()
        for process in processes:
            if process.is_running():
                process.kill()
        psutil.wait_procs(processes, timeout=30)


def title(process: psutil.Process) -> str:
    """What a process calls itself; nothing once it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def _settings() -> Iterator[None]:
    """The environment that nodes inherit, and nobody else."""
    before = dict(os.environ)
    os.environ.update(_SETTINGS, PYTHONPATH=os.pathsep.join([str(HOOKS), str(ROOT / "platform")]))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """The cluster, in a folder of its own with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        cluster = TwoNodes(folder)
        try:
            yield cluster
        finally:
            cluster.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
