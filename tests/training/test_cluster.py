"""Tickets as a function of what nodes have, and what a worker of a cell asks for; no Ray."""

import socket
from fractions import Fraction

import pytest

from simclr_lab.training.capacity import (
    SLOT,
    Capacity,
    ClusterUnfit,
    Seat,
    capacity_of,
    node_slots,
)
from simclr_lab.training.cluster import connect

WHOLE = Fraction(1)


def test_a_cluster_that_does_not_answer_is_named_at_once(monkeypatch) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ClusterUnfit, match=rf"no Ray cluster answers at {address}.*refused"):
            connect()


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        ({"CPU": 2.0}, 2),
        ({"CPU": 64.0, "GPU": 8.0}, 8),
        ({"CPU": 4.0, "GPU": 0.0}, 4),
        ({"CPU": 0.0}, 0),  # a head that only serves
        ({"memory": 1e9}, 0),
        ({"CPU": 1.5}, 1),
    ],
)
def test_a_node_has_a_ticket_per_device(resources: dict[str, float], slots: int) -> None:
    assert node_slots(resources) == slots


def cpus(count: float, slots: float | None = None) -> dict[str, float]:
    return {"CPU": count, SLOT: count if slots is None else slots, "memory": 1e9}


def gpus(count: float, processors: float) -> dict[str, float]:
    return {"CPU": processors, "GPU": count, SLOT: count, "accelerator_type:A100": 1.0}


def test_a_cluster_is_the_sum_of_its_nodes() -> None:
    assert capacity_of({"a": cpus(2), "b": cpus(4, slots=3)}) == Capacity(5, 4)
    head = {"CPU": 4.0}  # no tickets: it runs no cell
    mixed = capacity_of({"head": head, "a": gpus(8, 64), "b": gpus(4, 16)})
    assert mixed == Capacity(12, 64, Fraction(4))  # a GPU goes with 4 processors on the poorest


def test_a_cluster_without_tickets_says_how_to_start_its_nodes() -> None:
    told = rf"ray start \.\.\. --resources='\{{\"{SLOT}\": 8\}}'"
    with pytest.raises(ClusterUnfit, match=told):
        capacity_of({"a": {"CPU": 64.0, "GPU": 8.0}})
    with pytest.raises(ClusterUnfit, match="no cell could start"):
        capacity_of({})


def test_more_tickets_than_devices_are_refused() -> None:
    with pytest.raises(ClusterUnfit, match="the node b has 8 cell_slots and 4 processors"):
        capacity_of({"a": cpus(4), "b": cpus(4, slots=8)})
    with pytest.raises(ClusterUnfit, match="the node a has 8 cell_slots and 1 GPUs"):
        capacity_of({"a": {"CPU": 8.0, "GPU": 1.0, SLOT: 8.0}})


def test_nodes_of_two_kinds_are_refused() -> None:
    with pytest.raises(ClusterUnfit, match=r"\(b, c\) have none"):
        capacity_of({"a": gpus(1, 8), "c": cpus(4), "b": cpus(4)})


def test_a_worker_on_processors_takes_a_ticket_a_thread() -> None:
    assert Capacity(8, 4).seat(1, None, WHOLE) == Seat(WHOLE, 1, 0, 1)
    assert Capacity(8, 4).seat(2, 3, WHOLE) == Seat(Fraction(3), 3, 0, 3)
    with pytest.raises(ClusterUnfit, match=r"5 threads.*more than 4"):
        Capacity(8, 4).seat(1, 5, WHOLE)
    with pytest.raises(ClusterUnfit, match=r"--gpu-fraction is 1/2.*no GPU"):
        Capacity(8, 4).seat(1, None, Fraction(1, 2))


def test_a_worker_on_a_gpu_takes_its_part_of_the_node() -> None:
    able = Capacity(8, 64, Fraction(8))
    assert able.seat(1, None, WHOLE) == Seat(WHOLE, 8, 1, 8)
    assert able.seat(1, None, Fraction(1, 4)) == Seat(Fraction(1, 4), 2, 0.25, 2)
    assert able.seat(2, None, Fraction(1, 4)) == Seat(WHOLE, 8, 1, 8)  # NCCL shares no device
    assert able.seat(1, 3, WHOLE) == Seat(WHOLE, 3, 1, 3)
    assert able.seat(1, 16, WHOLE) == Seat(WHOLE, 8, 1, 16)  # kept threads wait for no processors


def test_parts_of_a_processor() -> None:
    seat = Capacity(1, 2, Fraction(2)).seat(1, None, Fraction(1, 3))
    assert (seat.processors, seat.gpus, seat.threads) == (0.6666, 0.3333, 1)
    assert 3 * seat.gpus <= 1
    assert 3 * seat.processors <= 2
