"""How large cells are: workers, threads and parts of a GPU. Never part of a key."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.domain import Choice, Domain
from simclr_lab.training.capacity import ClusterUnfit

MAX_SHARES = 64
"""Cells on one GPU, at most; each holds a CUDA context of some hundred megabytes."""


@dataclass(frozen=True)
class Sizing:
    """What is asked for of a study's cells.

    Args:
        workers: per cell, where its batch can be cut for as many; None where
            ``images_per_worker`` decides.
        images_per_worker: images of the batch that one worker may hold at once.
        threads: of each worker; None: one on processors, on GPUs its part of the node's processors.
        gpu_share: of a GPU, for cells of one worker.
    """

    workers: int | None = 1
    images_per_worker: int | None = None
    threads: int | None = None
    gpu_share: Fraction = Fraction(1)

    def workers_of(self, recipe: Recipe) -> int:
        """Workers of a new cell."""
        if self.images_per_worker is not None:
            return fewest_workers(recipe, self.images_per_worker)
        return fitting_workers(recipe, self.workers or 1)

    def widest(self, base: Recipe, domains: Mapping[str, Domain]) -> int:
        """Workers of the largest cell of a search, as far as its batch sizes are listed."""
        searched = domains.get("batch_size")
        sizes = searched.values if isinstance(searched, Choice) else (base.batch_size,)
        return max(self.workers_of(_with_batch(base, size)) for size in sizes)


def parse_sizing(
    workers: str, images_per_worker: int | None, cpus_per_worker: int | None, gpu_fraction: str
) -> Sizing:
    """The command line's options. Raises FieldError naming the option."""
    share = _parse_share(gpu_fraction)
    if workers == "auto":
        if images_per_worker is None:
            raise FieldError(
                "--workers",
                "is auto, which takes as few workers as hold the batch; allowed: together with "
                "--images-per-worker, the images that one worker's memory can hold",
            )
        return Sizing(None, images_per_worker, cpus_per_worker, share)
    if images_per_worker is not None:
        raise FieldError("--images-per-worker", "is given; allowed: with --workers auto")
    if not workers.isdecimal() or int(workers) < 1:
        raise FieldError("--workers", f"is {workers!r}; allowed: a positive number or auto")
    if int(workers) > 1 and share != 1:
        raise FieldError(
            "--gpu-fraction",
            f"is {gpu_fraction} with --workers {workers}; allowed: with cells of one worker, since "
            "NCCL refuses two workers on one device",
        )
    return Sizing(int(workers), None, cpus_per_worker, share)


def _parse_share(text: str) -> Fraction:
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if share.numerator != 1 or share.denominator > MAX_SHARES:
        raise FieldError(
            "--gpu-fraction",
            f"is {text!r}; allowed: 1, 0.5, 1/3, 0.25 and so on, one over a number up to "
            f"{MAX_SHARES}, so that the cells of a device take no more than all of it",
        )
    return share


def fitting_workers(recipe: Recipe, wanted: int) -> int:
    """The largest number of workers up to ``wanted`` that the recipe's batch can be cut for.

    Workers divide the batch, and hold or share whole groups of batch norm.
    """
    return max(n for n in range(1, max(wanted, 1) + 1) if n == 1 or _cuts(recipe, n))


def fewest_workers(recipe: Recipe, images: int) -> int:
    """The smallest number of workers of which none holds more than ``images`` at once.

    A worker holds its part of the batch at once, or a micro-batch where the recipe has them. Where
    no cut goes so far, the finest there is.
    """
    cuts = [n for n in range(1, recipe.batch_size + 1) if n == 1 or _cuts(recipe, n)]
    micro = recipe.compute.micro_batch_size
    held = {n: recipe.batch_size // n if micro == "whole" else micro for n in cuts}
    return next((n for n in cuts if held[n] <= images), cuts[-1])


def _cuts(recipe: Recipe, workers: int) -> bool:
    """Whether the recipe's batch can be cut for this many workers."""
    if not recipe.trains or recipe.batch_size % workers:
        return False
    group = recipe.batch_norm.group_images
    whole = recipe.batch_size if group == "whole" else group
    micro, local = recipe.compute.micro_batch_size, recipe.batch_size // workers
    if micro != "whole" and local % micro:
        return False
    return local % whole == 0 or whole % local == 0


def _with_batch(base: Recipe, size: Any) -> Recipe:
    """The base with another batch size; as it is where it does not go with the rest of it."""
    try:
        return base.with_fields({"batch_size": size})
    except FieldError:
        return base


def fits_together(share: Fraction, bytes_per_cell: int, device_bytes: int) -> bool:
    """Whether as many cells as share a device fit its memory together."""
    return share.denominator * bytes_per_cell <= device_bytes


def smallest_share(bytes_per_cell: int, device_bytes: int) -> Fraction | None:
    """One over the number of cells that a device's memory holds; None where it holds none."""
    cells = min(device_bytes // max(bytes_per_cell, 1), MAX_SHARES)
    return Fraction(1, cells) if cells else None


def check_share(share: Fraction, memory: Mapping[str, int], device_bytes: int) -> None:
    """Refuse a part of a GPU whose cells do not fit its memory together.

    Args:
        share: the part that each cell of one worker holds.
        memory: name of a cell or of its shape -> bytes that it needs, as they were probed.
        device_bytes: memory of the smallest device.

    Raises ClusterUnfit naming the smallest part whose cells fit.
    """
    for name, needed in memory.items():
        if fits_together(share, needed, device_bytes):
            continue
        least = smallest_share(needed, device_bytes)
        advice = f"allowed: --gpu-fraction {least} or more" if least else "not even one cell fits"
        raise ClusterUnfit(
            f"--gpu-fraction {share} puts {share.denominator} cells on a device of "
            f"{device_bytes / 2**20:.0f} MiB, and {name} needs {needed / 2**20:.0f}; {advice}"
        )
