"""A cell on several workers: a Ray Train group inside the trial, its events read from a queue."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.util.queue import Queue

from simclr_lab.training.events import CellEvent, EndEvent
from simclr_lab.training.run_cell import CellTask
from simclr_lab.training.worker import run_rank

_POLL_SECONDS = 0.5


def run_on_workers(
    task: CellTask, shared: dict[str, Any], *, workers: int, threads: int
) -> Iterator[CellEvent]:
    """The events of a cell on ``workers`` processes (NCCL on GPUs, gloo on CPUs).

    The group is not restarted here: a lost worker raises, and the trial as a whole is started
    again from the cell's checkpoint. Raises what the workers raised.
    """
    events: Queue = Queue(actor_options={"num_cpus": 0})
    failure: list[BaseException] = []
    folder = Path(task.storage) / "scratch"  # Ray Train's own files; every node must reach them
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{task.key}-", dir=folder) as scratch:
        trainer = TorchTrainer(
            run_rank,
            train_loop_config={
                "task": task,
                "shared": shared,
                "threads": threads,
                "events": events,
            },
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=torch.cuda.is_available()),
            run_config=RunConfig(
                name=task.key,
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
            ),
        )

        def fit() -> None:
            try:
                trainer.fit()
            except BaseException as error:
                failure.append(error)

        group = threading.Thread(target=fit, name=f"train-{task.key}", daemon=True)
        group.start()
        yield from _until_end(events, group)
        group.join()
        events.shutdown()
    if failure:
        raise failure[0]


def _until_end(events: Queue, group: threading.Thread) -> Iterator[CellEvent]:
    """Events as they come, until the cell's end or the group's."""
    while True:
        over = not group.is_alive()
        try:
            event: CellEvent = events.get(timeout=_POLL_SECONDS)
        except Empty:
            if over:
                return
            continue
        yield event
        if isinstance(event, EndEvent):
            return
