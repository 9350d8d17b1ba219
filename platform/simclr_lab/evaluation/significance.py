"""Do two classifiers differ on the same test images? The paper's permutation test (App. B.8)."""

import numpy as np
from jaxtyping import Bool
from torch import Tensor

PERMUTATIONS = 100_000


def permutation_test(
    correct_a: Bool[Tensor, " n"],
    correct_b: Bool[Tensor, " n"],
    *,
    generator: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> float:
    """Two-sided p-value of the difference in accuracy under random swaps of paired predictions.

    It speaks of these test images and of these two encoders, not of other seeds. Images on which
    both are right or both are wrong swap without effect, so a swap of all pairs is as many coins as
    there are images on which they differ.
    """
    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    heads = generator.binomial(only_a + only_b, 0.5, size=permutations)
    swapped = np.abs(2 * heads - (only_a + only_b))
    as_extreme = int((swapped >= abs(only_a - only_b)).sum())
    return (1 + as_extreme) / (1 + permutations)
