"""A cell on several workers: a Ray Train group inside the trial, its events read from a queue."""

import shutil
import tempfile
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util import remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.queue import Queue

from simclr_lab.training.capacity import Seat
from simclr_lab.training.events import CellEvent, EndEvent
from simclr_lab.training.run_cell import CellTask
from simclr_lab.training.worker import run_rank

GRACE_SECONDS = 60.0
"""How long a group that was told to leave may go on to the end of its epoch."""

_KILL_SECONDS = 30.0
_POLL_SECONDS = 0.5


def stop_file(storage: Path, key: str) -> Path:
    """While it is there, a group leaves at the end of its epoch; every node reaches it."""
    return storage / "scratch" / f"{key}.stop"


class GroupStuck(RuntimeError):  # noqa: N818 - reads as what it says
    """The workers outlived their placement group; only the end of this process ends them."""


class Group:
    """One Ray Train group, run in a thread of this process.

    Args:
        task: what to run.
        shared: references to the decoded dataset.
        workers: processes of the group.
        seat: what each of them asks Ray for, and its threads.
        scratch: folder for Ray Train's own files; every node must reach it.
    """

    def __init__(
        self, task: CellTask, shared: dict[str, Any], workers: int, seat: Seat, scratch: Path
    ) -> None:
        self.key = task.key
        self.queue: Queue = Queue(actor_options={"num_cpus": 0})
        self.failure: BaseException | None = None
        self._placement: PlacementGroup | None = None
        self._stop = stop_file(Path(task.storage), task.key)
        self._stop.unlink(missing_ok=True)
        self._trainer = TorchTrainer(
            run_rank,
            train_loop_config={
                "task": task,
                "shared": shared,
                "threads": seat.threads,
                "events": self.queue,
                "stop": str(self._stop),
            },
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=seat.gpus > 0, resources_per_worker=seat.devices
            ),
            # By what this node can compute on, as ``run_rank`` does: a GPU may be only counted.
            torch_config=TorchConfig(backend="nccl" if torch.cuda.is_available() else "gloo"),
            run_config=RunConfig(
                name=task.key,
                storage_path=str(scratch),
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
            ),
        )
        self._thread = threading.Thread(target=self._fit, name=f"train-{task.key}", daemon=True)
        self._thread.start()

    def _fit(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:
            self.failure = error

    def events(self) -> Iterator[CellEvent]:
        """Events as they come, until the cell's end or the group's."""
        while True:
            over = not self._thread.is_alive()
            event = self._read()
            if event is not None:
                yield event
            if isinstance(event, EndEvent) or (event is None and over):
                return

    def leave(self, grace: float) -> None:
        """Wait for the end of the group; after ``grace`` seconds kill its workers.

        Raises GroupStuck where they live on.
        """
        self._stop.touch()
        self._thread.join(grace)
        if self._thread.is_alive():
            while self._placement is None and not self.queue.empty():
                self._read()
            if self._placement is not None:
                remove_placement_group(self._placement)  # what runs in it is killed
            self._thread.join(_KILL_SECONDS)
        if self._thread.is_alive():
            raise GroupStuck(f"the workers of {self.key} cannot be ended")
        self._stop.unlink(missing_ok=True)
        self.queue.shutdown()

    def _read(self) -> CellEvent | None:
        """The next event, if one comes soon; the group's placement is kept aside."""
        try:
            told: CellEvent | PlacementGroup = self.queue.get(timeout=_POLL_SECONDS)
        except Empty:
            return None
        if isinstance(told, PlacementGroup):
            self._placement = told
            return self._read()
        return told


def run_on_workers(
    task: CellTask,
    shared: dict[str, Any],
    *,
    workers: int,
    seat: Seat,
    grace: float = GRACE_SECONDS,
) -> Generator[CellEvent, None, None]:
    """The events of a cell on ``workers`` processes (NCCL on GPUs, gloo on CPUs).

    The group is not restarted here: a lost worker raises, and the trial as a whole is started
    again from the cell's checkpoint. Closing the iterator tells the group to leave at the end of
    its epoch; after ``grace`` seconds it is killed. Raises what the workers raised.
    """
    folder = Path(task.storage) / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{task.key}-*"):  # of a group whose process was lost
        shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{task.key}-", dir=folder, ignore_cleanup_errors=True
    ) as scratch:
        group = Group(task, shared, workers, seat, Path(scratch))
        try:
            yield from group.events()
        finally:
            group.leave(grace)
    if group.failure is not None:
        raise group.failure
