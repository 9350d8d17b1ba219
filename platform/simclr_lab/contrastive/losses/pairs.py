"""Similarities of local anchors to their positive and to everybody's negatives (Table 2).

n: local images, p: width of z, m: images of all workers, k: candidates of an anchor.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from simclr_lab.contrastive.gather import all_gather, rank

Negatives = Literal["both_views", "one_view"]
Reduction = Literal["mean", "sum"]
WithoutCandidate = Literal["skip", "easiest"]


@dataclass(frozen=True)
class Pairs:
    """One direction's similarities: anchors of one view, their positives in the other."""

    positive: Float[Tensor, " n"]
    candidates: Float[Tensor, "n k"]
    is_negative: Bool[Tensor, "n k"]


def in_full(z: Tensor) -> AbstractContextManager[None]:
    """Inside, products are computed in their factors' own type, whatever the autocast around."""
    return torch.autocast(z.device.type, enabled=False)


def prepared(z: Float[Tensor, "n p"], normalize: bool) -> Float[Tensor, "n p"]:
    """At least float32, for use ``in_full``: logits lose their meaning in half precision."""
    z = z if z.dtype == torch.float64 else z.float()
    return functional.normalize(z, dim=1) if normalize else z


def mean_of_directions(
    z_a: Float[Tensor, "n p"],
    z_b: Float[Tensor, "n p"],
    per_anchor: Callable[[Pairs], Float[Tensor, " n"]],
    *,
    normalize: bool,
    negatives: Negatives,
) -> Float[Tensor, ""]:
    """Mean over all local anchors of both views; the workers' mean is the global batch's value."""
    with in_full(z_a):
        a, b = prepared(z_a, normalize), prepared(z_b, normalize)
        all_a, all_b = all_gather(a), all_gather(b)
        directions = (pairs(a, b, all_b, all_a, negatives), pairs(b, a, all_a, all_b, negatives))
        first, second = (per_anchor(direction).mean() for direction in directions)
        return (first + second) / 2


def pairs(
    anchor: Float[Tensor, "n p"],
    partner: Float[Tensor, "n p"],
    other: Float[Tensor, "m p"],
    same: Float[Tensor, "m p"],
    negatives: Negatives,
) -> Pairs:
    """Similarities of ``anchor`` rows to their ``partner`` and to all rows of the other view.

    ``both_views`` adds the rows of the anchors' own view; an anchor's own image is never among its
    negatives.
    """
    own = torch.arange(len(anchor), device=anchor.device) + rank() * len(anchor)
    is_negative = own[:, None] != torch.arange(len(other), device=own.device)
    candidates = anchor @ other.T
    if negatives == "both_views":
        candidates = torch.cat([candidates, anchor @ same.T], dim=1)
        is_negative = torch.cat([is_negative, is_negative], dim=1)
    return Pairs((anchor * partner).sum(dim=1), candidates, is_negative)


def over_negatives(
    values: Float[Tensor, "n k"], pairs: Pairs, reduction: Reduction
) -> Float[Tensor, " n"]:
    """Mean or sum of a value over each anchor's negatives; 0 for an anchor without any."""
    total = torch.where(pairs.is_negative, values, 0).sum(dim=1)
    return total if reduction == "sum" else total / pairs.is_negative.sum(dim=1).clamp(min=1)


def hardest(
    pairs: Pairs, admissible: Bool[Tensor, "n k"], without_candidate: WithoutCandidate
) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """Each anchor's most similar admissible negative, and whether the anchor counts.

    One without any does not count under ``skip``; under ``easiest`` its least similar negative is
    taken, admissible or not.
    """
    allowed = admissible & pairs.is_negative
    found = allowed.any(dim=1)
    index = pairs.candidates.masked_fill(~allowed, -torch.inf).argmax(dim=1)
    if without_candidate == "easiest":
        least = pairs.candidates.masked_fill(~pairs.is_negative, torch.inf).argmin(dim=1)
        index, found = torch.where(found, index, least), pairs.is_negative.any(dim=1)
    return pairs.candidates.gather(1, index[:, None])[:, 0], found
