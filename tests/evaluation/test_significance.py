"""The permutation test against the exact test of discordant pairs, and against swapping itself."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from simclr_lab.evaluation.significance import permutation_test


def rights(n: int, share: float, seed: int) -> torch.Tensor:
    return torch.rand(n, generator=torch.Generator().manual_seed(seed)) < share


@pytest.mark.parametrize(("a", "b"), [(0.80, 0.80), (0.80, 0.77), (0.80, 0.70), (0.5, 0.52)])
def test_it_is_mcnemars_exact_test(a: float, b: float) -> None:
    first, second = rights(1000, a, 0), rights(1000, b, 1)
    only_a = int((first & ~second).sum())
    only_b = int((second & ~first).sum())
    exact = binomtest(only_a, only_a + only_b, 0.5).pvalue
    found = permutation_test(first, second, generator=np.random.default_rng(0))
    assert found == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 100_000) ** 0.5 + 2e-5)


def test_it_equals_swapping_pairs_one_by_one() -> None:
    first, second = rights(40, 0.8, 0), rights(40, 0.5, 3)
    generator = np.random.default_rng(5)
    observed = abs(int(first.sum()) - int(second.sum()))
    pairs = np.stack([first.numpy(), second.numpy()]).astype(int)
    extreme = 0
    for _ in range(4000):
        swap = generator.random(40) < 0.5
        a, b = np.where(swap, pairs[::-1], pairs)
        extreme += abs(a.sum() - b.sum()) >= observed
    found = permutation_test(first, second, generator=np.random.default_rng(0))
    assert found == pytest.approx(extreme / 4000, abs=0.02)


def test_equal_classifiers_do_not_differ_and_opposite_ones_do() -> None:
    right = rights(500, 0.7, 0)
    assert permutation_test(right, right, generator=np.random.default_rng(0)) == 1.0
    all_, none = torch.ones(50, dtype=torch.bool), torch.zeros(50, dtype=torch.bool)
    assert permutation_test(all_, none, generator=np.random.default_rng(0)) < 2e-5
