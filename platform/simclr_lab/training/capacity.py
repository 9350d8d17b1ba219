"""What a cluster can run at once: tickets per node, and what each worker of a cell asks of Ray."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

SLOT = "cell_slot"
"""Admission ticket: one per device (GPU, else CPU) of a node; a cell holds some per worker."""

_RAYS_DIGITS = 10_000
"""Ray counts parts of a resource in ten-thousandths."""


class ClusterUnfit(RuntimeError):  # noqa: N818 - reads as what it says
    """The cluster cannot run cells as it was started; the message says what to change."""


def node_slots(resources: Mapping[str, float]) -> int:
    """Tickets of a node with these resources (as Ray names them): its GPUs, else its processors."""
    return int(resources.get("GPU", 0) or resources.get("CPU", 0))


@dataclass(frozen=True)
class Seat:
    """What Ray is asked for each worker of a cell, and the threads that the worker computes with.

    ``slots`` is exact; ``processors`` and ``gpus`` are as Ray counts them.
    """

    slots: Fraction = Fraction(1)
    processors: float = 1
    gpus: float = 0
    threads: int = 1

    @property
    def tickets(self) -> dict[str, float]:
        """The tickets, as Ray counts them."""
        return {SLOT: _as_ray_counts(self.slots)}

    @property
    def devices(self) -> dict[str, float]:
        """Processors and, where there are any, GPUs."""
        return {"CPU": self.processors} | ({"GPU": self.gpus} if self.gpus else {})


@dataclass(frozen=True)
class Capacity:
    """What a cluster can run at once.

    Args:
        slots: tickets of all nodes.
        processors: of the largest node that has tickets; None where nobody knows.
        processors_per_gpu: that go with each GPU, on the poorest node; None without GPUs.
    """

    slots: int
    processors: int | None = None
    processors_per_gpu: Fraction | None = None

    def seat(self, workers: int, threads: int | None, share: Fraction) -> Seat:
        """What each of ``workers`` asks for.

        On processors a worker takes as many tickets as it has threads, one unless told otherwise.
        On GPUs a lone worker takes ``share`` of a GPU and each of several a whole one (NCCL refuses
        two ranks on one device), with its part of the node's processors; threads are these, unless
        told otherwise.

        Raises ClusterUnfit where no node can hold the worker.
        """
        if self.processors_per_gpu is None:
            return self._seat_on_processors(threads or 1, share)
        part = share if workers == 1 else Fraction(1)
        processors = self.processors_per_gpu * part
        own = threads or max(1, math.floor(processors))
        asked = float(min(own, math.floor(processors))) or _as_ray_counts(processors)
        return Seat(part, asked, _as_ray_counts(part), own)

    def _seat_on_processors(self, threads: int, share: Fraction) -> Seat:
        if share != 1:
            raise ClusterUnfit(
                f"--gpu-fraction is {share} and the cluster has no GPU; "
                "without it each worker takes one processor, or --cpus-per-worker of them"
            )
        if self.processors is not None and threads > self.processors:
            raise ClusterUnfit(
                f"a worker with {threads} threads takes {threads} processors, and no node of the "
                f"cluster has more than {self.processors}; a cell that was begun keeps its "
                "threads, new ones take --cpus-per-worker"
            )
        return Seat(Fraction(threads), threads, 0, threads)


def capacity_of(nodes: Mapping[str, Mapping[str, float]]) -> Capacity:
    """What nodes (name -> resources as Ray names them) can run at once.

    Nodes without tickets, such as a head that only serves, run no cells. Raises ClusterUnfit where
    no node has tickets, where one has more of them than devices, and where some of those that have
    them have GPUs and others have not.
    """
    able = {address: own for address, own in nodes.items() if own.get(SLOT, 0) >= 1}
    if not able:
        count = max([1, *(node_slots(own) for own in nodes.values())])
        raise ClusterUnfit(
            f"no node of the cluster has {SLOT}s, so that no cell could start; start each node "
            f"that is to run cells with its number of GPUs, or of processors if it has none: "
            f"ray start ... --resources='{{\"{SLOT}\": {count}}}'"
        )
    for address, own in able.items():
        if own[SLOT] > node_slots(own):
            raise ClusterUnfit(
                f"the node {address} has {own[SLOT]:g} {SLOT}s and {node_slots(own)} "
                f"{'GPUs' if own.get('GPU') else 'processors'}; allowed: at most as many, given by "
                "ray start --resources"
            )
    on_gpus = {address for address, own in able.items() if own.get("GPU")}
    if on_gpus and on_gpus != able.keys():
        others = ", ".join(sorted(able.keys() - on_gpus))
        raise ClusterUnfit(
            f"some nodes with {SLOT}s have GPUs and others ({others}) have none; "
            f"start those without {SLOT}s, or in a cluster of their own"
        )
    per_gpu = [
        Fraction(int(own.get("CPU", 0)), int(own["GPU"])) for own in able.values() if on_gpus
    ]
    return Capacity(
        slots=sum(int(own[SLOT]) for own in able.values()),
        processors=max(int(own.get("CPU", 0)) for own in able.values()),
        processors_per_gpu=min(per_gpu, default=None),
    )


def _as_ray_counts(part: Fraction) -> float:
    """The part in Ray's ten-thousandths, rounded down: n nth parts never exceed a whole."""
    return math.floor(part * _RAYS_DIGITS) / _RAYS_DIGITS
