"""What each worker of a cell runs: alone in a process of its own, or one rank of several."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from ray.util.placement_group import get_current_placement_group
from ray.util.queue import Queue

from simclr_lab.training.events import CellEvent
from simclr_lab.training.run_cell import CellRun, CellTask
from simclr_lab.training.shared_data import receive


def use_threads(threads: int) -> None:
    """Compute with this many threads; more than the cell's processors cost a factor of five."""
    torch.set_num_threads(threads)


def run_alone(
    task: CellTask, shared: dict[str, Any], threads: int
) -> Generator[CellEvent, None, None]:
    """The events of a cell on one worker, in this process."""
    use_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    yield from CellRun(task, receive(shared), device).events()


def run_rank(config: dict[str, Any]) -> None:
    """One rank of a cell on several workers, inside Ray Train's process group.

    ``config`` holds ``task``, ``shared``, ``threads``, ``stop`` (a file: all ranks leave at the end
    of an epoch at which it is there) and ``events``, the queue on which rank 0 tells its driver
    where the group is placed and then what happens.
    """
    from ray.train.torch import get_device

    use_threads(config["threads"])
    events: Queue = config["events"]
    device = get_device() if torch.cuda.is_available() else torch.device("cpu")
    stop = Path(config["stop"])
    run = CellRun(config["task"], receive(config["shared"]), device, stop=stop.exists)
    if run.writes:
        events.put(get_current_placement_group())
    for event in run.events():
        if run.writes:
            events.put(event)
