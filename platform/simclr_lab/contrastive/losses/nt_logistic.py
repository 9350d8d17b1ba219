"""NT-Logistic: the positive and the negatives as separate yes-or-no questions (Table 2, B.10)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from simclr_lab.contrastive.losses.pairs import (
    Negatives,
    Pairs,
    Reduction,
    WithoutCandidate,
    hardest,
    mean_of_directions,
    over_negatives,
)


def nt_logistic(
    z_a: Float[Tensor, "n p"],
    z_b: Float[Tensor, "n p"],
    *,
    temperature: float,
    semi_hard: bool = False,
    normalize: bool = True,
    negatives: Negatives = "both_views",
    reduction: Reduction = "mean",
    without_candidate: WithoutCandidate = "skip",
) -> Float[Tensor, ""]:
    """Mean over anchors of -log sigmoid(s+/t) - mean over negatives of log sigmoid(-s-/t).

    The paper leaves the reduction over negatives open: the mean keeps one positive and 2(m - 1)
    negatives in balance, the sum does not. Distributed, it behaves as ``nt_xent`` does.

    Args:
        z_a: projections of the first views.
        z_b: projections of the second views.
        temperature: divides the similarities.
        semi_hard: keep one negative an anchor, the most similar of those less similar than the
            positive.
        normalize: l2-normalise rows first.
        negatives: of both views, or of the other view only (Table 4).
        reduction: mean or sum over an anchor's negatives; semi-hard, there is one.
        without_candidate: what a semi-hard anchor without an admissible negative does: ``skip``
            counts it as zero, ``easiest`` takes its least similar negative.

    Raises ValueError for a temperature that is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; allowed: greater than 0")

    def per_anchor(pairs: Pairs) -> Tensor:
        positive = functional.softplus(-pairs.positive / temperature)
        if not semi_hard:
            each = functional.softplus(pairs.candidates / temperature)
            return positive + over_negatives(each, pairs, reduction)
        easier = pairs.candidates < pairs.positive[:, None]
        negative, found = hardest(pairs, easier, without_candidate)
        whole = positive + functional.softplus(negative / temperature)
        return torch.where(found, whole, 0)

    return mean_of_directions(z_a, z_b, per_anchor, normalize=normalize, negatives=negatives)
