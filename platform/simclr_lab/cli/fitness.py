"""What this machine can hold; a launch that it cannot is refused before anything is recorded."""

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch

from simclr_lab.cli.estimate import Estimate
from simclr_lab.fields import FieldError
from simclr_lab.tracking.home import home
from simclr_lab.tracking.unfit import Unfit
from simclr_lab.training.capacity import node_slots
from simclr_lab.training.probing import Prober, in_words, what_fits
from simclr_lab.tuning.plan import PlannedCell
from simclr_lab.tuning.sizes import check_share

MEMORY_VARIABLE = "SIMCLR_LAB_WORKER_MEMORY_GIB"
_GROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says what a container may use."""


def own_slots() -> int | None:
    """Workers that this machine runs at once; None on a cluster, which is not known yet."""
    if os.environ.get("RAY_ADDRESS"):
        return None
    return node_slots({"CPU": os.cpu_count() or 1, "GPU": torch.cuda.device_count()})


def worker_memory(cells: Sequence[PlannedCell], slots: int | None) -> int | None:
    """Bytes that one worker may use while as many run as will; None: what its GPU has.

    ``SIMCLR_LAB_WORKER_MEMORY_GIB`` says it instead. Raises FieldError where that is no number.
    """
    given = os.environ.get(MEMORY_VARIABLE)
    if given is not None:
        return _bytes(given)
    if on_gpus() or slots is None:
        return None
    workers = sum(cell.workers for cell in cells if cell.launches)
    return machine_memory() // max(1, min(slots, workers))


def machine_memory() -> int:
    """Bytes of this machine, or of the container around this process."""
    limits = [psutil.virtual_memory().total]
    for file in _GROUPS:
        try:
            text = Path(file).read_text().strip()
        except OSError:
            continue
        limits += [int(text)] if text.isdecimal() else []
    return int(min(limits))


def on_gpus() -> bool:
    """Whether workers hold GPUs."""
    return torch.cuda.is_available()


def worker_hours_name() -> str:
    """What an hour of a worker is called here."""
    return "GPU-hours" if on_gpus() else "worker-hours"


def free_disk() -> int:
    """Free bytes where records are kept."""
    place = home()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def refuse_unfit(estimate: Estimate, prober: Prober, *, memory: bool = True) -> None:
    """Raises Unfit naming what this machine cannot hold, and what would help."""
    if estimate.slots is not None and estimate.widest > estimate.slots:
        raise Unfit(
            f"a cell of the study asks for {estimate.widest} workers, and this machine has "
            f"{estimate.slots} slots; ask for fewer --workers, or for a cluster"
        )
    free = free_disk()
    if estimate.disk_bytes > free:
        raise Unfit(
            f"the encoders and checkpoints of {estimate.cells} cells take about "
            f"{in_units(estimate.disk_bytes)}, and {home()} has {in_units(free)} left; "
            "simclr-lab clean removes what no record points to"
        )
    if memory and estimate.too_large:
        raise Unfit(_too_large(estimate, prober))


def refuse_crowded(cells: Sequence[PlannedCell], prober: Prober) -> None:
    """Raises ClusterUnfit where cells that share a GPU were probed not to fit it together."""
    for cell in cells:
        if cell.gpu_share == 1 or cell.workers > 1 or not cell.launches:
            continue
        found = prober.known(cell.recipe, 1)
        if found is not None and found.memory_bytes and found.limit_bytes:
            memory = {in_words(cell.recipe, 1): found.memory_bytes}
            check_share(cell.gpu_share, memory, found.limit_bytes)


def _too_large(estimate: Estimate, prober: Prober) -> str:
    recipe, workers, found = estimate.too_large[0]
    limit = in_units(found.limit_bytes or 0)
    needs = "more" if found.memory_bytes is None else in_units(found.memory_bytes)
    others = len(estimate.too_large) - 1
    also = f" (and {others} more shapes are too large)" if others else ""
    text = f"{in_words(recipe, workers)}: a worker has {limit} of memory and needs {needs}{also}; "
    saving = what_fits(recipe, workers, prober)
    if saving is None:
        return text + "no micro-batch fits; ask for more --workers or a smaller batch_size"
    changes, fits = saving
    settings = " ".join(f"--set {name}={str(value).lower()}" for name, value in changes.items())
    why = "" if "compute.micro_batch_size" in changes else ", its norms being over the whole batch"
    return text + (
        f"it would fit with {settings} ({in_units(fits.memory_bytes or 0)}){why}, "
        "which changes no result"
    )


def in_units(count: int) -> str:
    """Bytes as a person reads them."""
    power = min(int(math.log(max(count, 1), 1024)), 4)
    name = ("bytes", "KiB", "MiB", "GiB", "TiB")[power]
    return f"{count / 1024**power:.{0 if power < 3 else 1}f} {name}"


def _bytes(given: str) -> int:
    try:
        amount = float(given)
    except ValueError:
        amount = math.nan
    if not (math.isfinite(amount) and amount > 0):
        raise FieldError(MEMORY_VARIABLE, f"is {given!r}; allowed: GiB, more than 0")
    return int(amount * 2**30)
