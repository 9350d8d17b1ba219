"""Margin triplet: a negative should be less similar than the positive by a margin (Table 2)."""

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


def margin_triplet(
    z_a: Float[Tensor, "n p"],
    z_b: Float[Tensor, "n p"],
    *,
    margin: float,
    semi_hard: bool = False,
    normalize: bool = True,
    negatives: Negatives = "both_views",
    reduction: Reduction = "mean",
    without_candidate: WithoutCandidate = "skip",
) -> Float[Tensor, ""]:
    """Mean over anchors of the mean over negatives of max(s- - s+ + margin, 0).

    Distributed, it behaves as ``nt_xent`` does.

    Args:
        z_a: projections of the first views.
        z_b: projections of the second views.
        margin: wanted distance of similarities.
        semi_hard: keep one negative an anchor, the most similar of those less similar than the
            positive but inside the margin.
        normalize: l2-normalise rows first.
        negatives: of both views, or of the other view only (Table 4).
        reduction: mean or sum over an anchor's negatives; semi-hard, there is one.
        without_candidate: what a semi-hard anchor without an admissible negative does: ``skip``
            counts it as zero, ``easiest`` takes its least similar negative.

    Raises ValueError for a negative margin.
    """
    if margin < 0:
        raise ValueError(f"margin is {margin}; allowed: 0 or more")

    def per_anchor(pairs: Pairs) -> Tensor:
        positive = pairs.positive[:, None]
        if not semi_hard:
            each = functional.relu(pairs.candidates - positive + margin)
            return over_negatives(each, pairs, reduction)
        inside = (pairs.candidates < positive) & (pairs.candidates > positive - margin)
        negative, found = hardest(pairs, inside, without_candidate)
        return torch.where(found, functional.relu(negative - pairs.positive + margin), 0)

    return mean_of_directions(z_a, z_b, per_anchor, normalize=normalize, negatives=negatives)
