"""What a step costs, measured in a process of its own: ``python -m simclr_lab.training.probe``.

Standard input holds ``{"recipe": ..., "workers": n, "limit_bytes": n or null}``; the answer on
standard output is ``{"seconds_per_step": s, "memory_bytes": b, "limit_bytes": n or null}``, or
``{"out_of_memory": true, ...}``. What dies here takes nobody with it.
"""

import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from simclr_lab.recipe import DATASET_CLASSES, Recipe
from simclr_lab.training.loop import Pretraining

STEPS = 3
"""Timed steps, after one that warms up."""

_ALLOCATION = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")
_MATRICES = 6
"""Matrices of similarities that a loss and its gradient hold at once."""


@dataclass(frozen=True)
class StepCost:
    """Mean seconds of a step of the whole batch, and the peak memory of one worker."""

    seconds_per_step: float
    memory_bytes: int


def measure(recipe: Recipe, workers: int, device: torch.device | str = "cpu") -> StepCost:
    """Take some steps as one of ``workers`` workers would, on random images.

    The worker is alone here: what it would hold of the others' projections and for the mean of
    gradients is counted and added.
    """
    local = one_workers_part(recipe, workers)
    images, size = local.batch_size, local.data.image_size
    pixels = torch.Generator().manual_seed(0)
    shape = (images, 3, size, size)
    pictures = torch.randint(0, 256, shape, dtype=torch.uint8, generator=pixels)
    labels = torch.arange(images) % DATASET_CLASSES[recipe.data.dataset]
    pretraining = Pretraining(local, 0, pictures, torch.arange(images), device, labels)
    stamps = [(epoch.step, time.perf_counter()) for epoch in pretraining.epochs()]
    (first, began), (last, ended) = stamps[0], stamps[-1]
    elsewhere = _for_the_others(recipe, workers, pretraining.model)
    return StepCost((ended - began) / (last - first), _peak_bytes(device) + elsewhere)


def one_workers_part(recipe: Recipe, workers: int) -> Recipe:
    """A recipe of one worker's images, in which every epoch is about one step."""
    images, group = recipe.batch_size // workers, recipe.batch_norm.group_images
    return recipe.with_fields(
        {
            "batch_size": images,
            "batch_norm.group_images": "whole" if group == "whole" else min(group, images),
            "data.pretrain_images": images,
            "epochs": 1 + STEPS,
            "optimizer.warmup": 0.0,
        }
    )


def _for_the_others(recipe: Recipe, workers: int, model: torch.nn.Module) -> int:
    """Bytes of gradients under way, and of similarities with the other workers' images."""
    if workers == 1:
        return 0
    gradients = sum(p.numel() * p.element_size() for p in model.parameters())
    local = recipe.batch_size // workers
    return gradients + _MATRICES * 4 * 2 * local * 2 * (recipe.batch_size - local)


def _peak_bytes(device: torch.device | str) -> int:
    """Most that this process held: on the device, or in memory with interpreter and libraries.

    ``VmHWM`` belongs to this program; ``ru_maxrss`` would remember the one that started it.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int | None:
    """A line of Linux's account of this process, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = (line.split() for line in lines if line.startswith(f"{name}:"))
    return next((int(words[1]) * 1024 for words in found), None)


@contextlib.contextmanager
def _at_most(limit_bytes: int | None) -> Iterator[None]:
    """Let allocations beyond the limit fail here, before the kernel looks for somebody to kill."""
    held = _status("VmData")
    if limit_bytes is None or held is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory was not enough."""
    words = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(each in words for each in _ALLOCATION)
    )


def main() -> None:
    """Measure what standard input asks for."""
    asked = json.load(sys.stdin)
    recipe = Recipe.model_validate_json(json.dumps(asked["recipe"]))
    torch.set_num_threads(1)  # as a cell's worker
    on_gpu, limit = torch.cuda.is_available(), asked["limit_bytes"]
    if on_gpu:
        limit = limit or torch.cuda.mem_get_info()[1]
    try:
        with _at_most(None if on_gpu else limit):
            cost = measure(recipe, asked["workers"], "cuda" if on_gpu else "cpu")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        answer: dict[str, object] = {"out_of_memory": True}
    else:
        answer = asdict(cost)
    print(json.dumps(answer | {"limit_bytes": limit}))


if __name__ == "__main__":
    main()
