"""Run a function in several gloo processes; nothing waits without a deadline."""

import multiprocessing
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

DEADLINE_SECONDS = 120.0


def run_workers(
    function: Callable[..., Any],
    world_size: int,
    *arguments: Any,
    deadline: float = DEADLINE_SECONDS,
) -> list[Any]:
    """``function(*arguments)`` on every rank of a fresh process group; results in rank order.

    ``function`` must live in an importable module and return what torch can save.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processes = [
            context.Process(target=_rank, args=(function, rank, world_size, folder, arguments))
            for rank in range(world_size)
        ]
        for process in processes:
            process.start()
        _join(processes, time.monotonic() + deadline)
        errors = [path.read_text() for path in sorted(folder.glob("*.error"))]
        assert not errors, errors[0]
        assert all(process.exitcode == 0 for process in processes)
        return [torch.load(folder / f"{r}.pt", weights_only=False) for r in range(world_size)]


def _join(processes: list[Any], until: float) -> None:
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
    late = [process for process in processes if process.is_alive()]
    for process in late:
        process.kill()
        process.join(10)
    assert not late, f"{len(late)} of {len(processes)} workers did not end in time"


def _rank(
    function: Callable[..., Any], rank: int, world_size: int, folder: Path, arguments: Any
) -> None:
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder / 'rendezvous'}",
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=60),
        )
        torch.save(function(*arguments), folder / f"{rank}.pt")
        dist.barrier()
        dist.destroy_process_group()
    except BaseException:
        (folder / f"{rank}.error").write_text(traceback.format_exc())
        raise
