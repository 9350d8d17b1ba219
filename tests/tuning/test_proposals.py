"""Values that are known beforehand: the same for every arm, spread over the space, different."""

import math

from simclr_lab.spaces.domain import Choice, Range
from simclr_lab.tuning.proposals import PATIENCE, Proposals

RATE = {"optimizer.learning_rate": Range(0.01, 1.0, "log")}
BOTH = RATE | {"optimizer.name": Choice(("lars", "sgd"))}


def values(domains, wanted: int, sampler: str = "qmc", seed: int = 0) -> list[dict]:
    proposals = Proposals(domains, sampler=sampler, seed=seed, wanted=wanted)
    return proposals.different(lambda point: tuple(point.values()), wanted)


def test_the_same_arguments_give_the_same_values_and_more_only_add_to_them() -> None:
    for sampler in ("qmc", "random"):
        eight = values(BOTH, 8, sampler)
        assert eight == values(BOTH, 8, sampler)
        assert eight[:3] == values(BOTH, 3, sampler)
        assert eight != values(BOTH, 8, sampler, seed=1)
    assert values(BOTH, 8) != values(BOTH, 8, "random")


def test_eight_quasi_random_values_are_one_in_each_eighth_of_the_log_range() -> None:
    rates = [point["optimizer.learning_rate"] for point in values(RATE, 8)]
    eighths = [math.floor(8 * math.log(rate / 0.01) / math.log(100)) for rate in rates]
    assert sorted(eighths) == list(range(8))


def test_a_space_with_few_points_is_listed_whole_and_in_order() -> None:
    few = {"projection.depth": Range(1, 3, integer=True), "optimizer.name": Choice(("lars", "sgd"))}
    expected = [
        {"projection.depth": depth, "optimizer.name": name}
        for depth in (1, 2, 3)
        for name in ("lars", "sgd")
    ]
    assert values(few, 6) == expected
    assert values(few, 8) == expected
    assert len(values(few, 5)) == 5


def test_two_readers_see_one_sequence() -> None:
    proposals = Proposals(RATE, sampler="qmc", seed=0, wanted=4)
    first, second = iter(proposals), iter(proposals)
    ahead = [next(first) for _ in range(4)]
    assert [next(second) for _ in range(4)] == ahead


def test_cells_that_come_again_are_not_counted_and_patience_ends() -> None:
    proposals = Proposals(BOTH, sampler="random", seed=0, wanted=4)
    names = [p["optimizer.name"] for p in proposals.different(lambda p: p["optimizer.name"], 4)]
    assert sorted(names) == ["lars", "sgd"]
    assert len(proposals._drawn) <= 20 + PATIENCE
