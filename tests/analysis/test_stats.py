"""Statistics against textbook formulas, scipy and simulations with known truth."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.lib.stats import estimate, separation


def test_interval_of_known_numbers() -> None:
    """Mean 3, deviation sqrt(2.5), n = 5, t(0.975, 4) = 2.776445."""
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.7764451 * math.sqrt(2.5 / 5)
    assert (found.mean, found.n) == (3.0, 5)
    assert found.low == pytest.approx(3 - half)
    assert found.high == pytest.approx(3 + half)


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    one, none = estimate([4.0]), estimate([])
    assert (one.mean, one.n) == (4.0, 1)
    assert math.isnan(one.low)
    assert math.isnan(none.mean)
    assert none.n == 0


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        found = estimate(generator.normal(40, 0.6, 3).tolist())
        hits += found.low <= 40 <= found.high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


def cells(values: np.ndarray) -> pd.DataFrame:
    rows = [
        {"arm": f"arm {i}", "seed": j, "top1": value}
        for i, row in enumerate(values)
        for j, value in enumerate(row)
    ]
    return pd.DataFrame(rows)


def test_two_arms_are_a_paired_t_test() -> None:
    values = np.array([[40.0, 42.0, 41.5], [41.0, 42.5, 43.0]])
    found = separation(cells(values), "top1")
    difference = values[1] - values[0]
    critical = stats.t.ppf(0.975, 2) * difference.std(ddof=1) / math.sqrt(3)
    assert found.smallest == pytest.approx(critical, rel=1e-4)
    assert found.pairs[0] == ("arm 1", "arm 0", pytest.approx(difference.mean()))
    assert found.degrees == 2


def test_what_a_seed_does_to_every_arm_is_no_noise() -> None:
    generator = np.random.default_rng(1)
    noise = generator.normal(0, 0.1, (3, 4))
    by_seed = np.array([[0.0, 5.0, -5.0, 2.0]])
    plain, blocked = (separation(cells(40 + noise + shift), "top1") for shift in (0, by_seed))
    assert blocked.spread == pytest.approx(plain.spread)
    assert blocked.smallest == pytest.approx(plain.smallest)


def test_equal_arms_separate_no_more_often_than_allowed() -> None:
    generator = np.random.default_rng(2)
    wrong = 0
    for _ in range(400):
        values = generator.normal(40, 0.6, (4, 3)) + generator.normal(0, 2, (1, 3))
        wrong += bool(separation(cells(values), "top1").separate)
    assert wrong / 400 == pytest.approx(0.05, abs=0.03)


def test_far_arms_separate() -> None:
    values = np.array([[40.0, 40.2], [45.0, 45.1], [40.1, 40.2]])
    found = separation(cells(values), "top1")
    assert {pair[:2] for pair in found.separate} == {("arm 1", "arm 0"), ("arm 1", "arm 2")}


def test_only_seeds_that_every_arm_has_count() -> None:
    frame = cells(np.array([[40.0, 41.0, 42.0], [41.0, 42.0, 44.0]]))
    found = separation(frame[~((frame["arm"] == "arm 1") & (frame["seed"] == 0))], "top1")
    assert found.seeds == (1, 2)


def test_an_arm_that_lacks_a_seed_is_left_out_and_named() -> None:
    frame = cells(np.array([[40.0, 41.0], [41.0, 42.5], [50.0, 50.0]]))
    found = separation(frame[~((frame["arm"] == "arm 2") & (frame["seed"] == 0))], "top1")
    assert set(found.means) == {"arm 0", "arm 1"}
    assert found.left_out == ("arm 2",)


@pytest.mark.parametrize("values", [[[40.0], [41.0]], [[40.0, 41.0]]])
def test_too_little_to_compare(values) -> None:
    assert separation(cells(np.array(values)), "top1") is None
