"""Uncertainty over seeds: t-intervals, and which arms separate (Tukey's range over seed blocks)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds with its t-interval; the interval is NaN for fewer than two seeds."""

    mean: float
    low: float
    high: float
    n: int


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean and two-sided t-interval; all NaN for no values."""
    n = len(values)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = float(np.mean(values))
    if n == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n)


@dataclass(frozen=True)
class Separation:
    """Which arms differ by more than the seeds' spread explains.

    Args:
        means: arm -> mean over the shared seeds.
        seeds: seeds that every compared arm has.
        spread: standard deviation of a cell once arm and seed effects are taken out, in points.
        degrees: degrees of freedom of ``spread``.
        smallest: difference of two means that counts as separate, for all pairs together.
        pairs: (higher arm, lower arm, difference), the largest difference first.
        left_out: arms that lack a value for one of the seeds.
    """

    means: Mapping[str, float]
    seeds: tuple[int, ...]
    spread: float
    degrees: int
    smallest: float
    pairs: tuple[tuple[str, str, float], ...]
    left_out: tuple[str, ...] = ()

    @property
    def separate(self) -> tuple[tuple[str, str, float], ...]:
        """Pairs beyond the smallest difference."""
        return tuple(pair for pair in self.pairs if pair[2] > self.smallest)


def separation(
    cells: pd.DataFrame, metric: str, *, arm: str = "arm", level: float = LEVEL
) -> Separation | None:
    """Compare arms over the seeds they share, by an additive model of arms and seeds.

    The seeds are blocks: what a seed does to every arm alike is no noise of the comparison. The
    residual spread is pooled over arms, and Tukey's studentized range holds the error rate over
    all pairs. Arms that lack a seed are left out; where fewer than two are whole, seeds that an arm
    lacks are left out instead. None where fewer than two arms or two shared seeds remain.

    Args:
        cells: one row per cell with the columns ``arm``, ``seed`` and ``metric``.
        metric: the column compared.
        arm: the column that names the arm.
        level: confidence for all pairs together.
    """
    whole = cells.pivot_table(index=arm, columns="seed", values=metric, sort=False)
    grid = whole.dropna(axis="index")
    if len(grid) < 2:
        grid = whole.dropna(axis="columns")
    arms, seeds = grid.shape
    if arms < 2 or seeds < 2:
        return None
    values = grid.to_numpy(dtype=float)
    by_arm, by_seed = values.mean(axis=1), values.mean(axis=0)
    residual = values - by_arm[:, None] - by_seed[None, :] + values.mean()
    degrees = (arms - 1) * (seeds - 1)
    spread = math.sqrt(float((residual**2).sum()) / degrees)
    means = {str(name): float(mean) for name, mean in zip(grid.index, by_arm, strict=True)}
    pairs = [
        (a, b, means[a] - means[b]) if means[a] >= means[b] else (b, a, means[b] - means[a])
        for a, b in combinations(means, 2)
    ]
    return Separation(
        means=means,
        seeds=tuple(int(seed) for seed in grid.columns),
        spread=spread,
        degrees=degrees,
        smallest=_tukey(level, arms, degrees) * spread / math.sqrt(seeds),
        pairs=tuple(sorted(pairs, key=lambda pair: -pair[2])),
        left_out=tuple(str(name) for name in whole.index if name not in grid.index),
    )


@lru_cache
def _tukey(level: float, arms: int, degrees: int) -> float:
    """Quantile of the studentized range; scipy integrates it anew at every call."""
    return float(stats.studentized_range.ppf(level, arms, degrees))
