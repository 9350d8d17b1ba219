"""One contract for every loss of Table 2; slow twins, closed forms and analytic gradients."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from projections import random_pair
from torch import Tensor

from simclr_lab.contrastive.losses import margin_triplet, nt_logistic, nt_xent

Similarities = tuple[float, list[float]]


def anchors(z_a: Tensor, z_b: Tensor, normalize: bool, one_view: bool) -> list[Similarities]:
    """(similarity to the positive, similarities to every negative) of each of the 2n anchors."""
    n = len(z_a)
    rows = [[float(x) for x in row] for row in torch.cat([z_a, z_b])]
    if normalize:
        rows = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]
    found = []
    for i in range(2 * n):
        positive = (i + n) % (2 * n)
        s = [sum(x * y for x, y in zip(rows[i], row, strict=True)) for row in rows]
        others = [k for k in range(2 * n) if k not in (i, positive)]
        if one_view:
            others = [k for k in others if (k < n) != (i < n)]
        found.append((s[positive], [s[k] for k in others]))
    return found


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def slow_xent(positive: float, negatives: list[float], *, temperature: float) -> float:
    scores = [s / temperature for s in (positive, *negatives)]
    return math.log(sum(math.exp(s - scores[0]) for s in scores))


def reduced(terms: list[float], reduction: str) -> float:
    if reduction == "sum" or not terms:
        return sum(terms)
    return sum(terms) / len(terms)


def slow_logistic(
    positive: float,
    negatives: list[float],
    *,
    temperature: float,
    semi_hard: bool = False,
    reduction: str = "mean",
    without_candidate: str = "skip",
) -> float:
    if semi_hard:
        candidates = sorted(s for s in negatives if s < positive)[-1:]
        if not candidates and without_candidate == "easiest":
            candidates = sorted(negatives)[:1]
        if not candidates:
            return 0.0
        negatives = candidates
    terms = [softplus(s / temperature) for s in negatives]
    return softplus(-positive / temperature) + reduced(terms, reduction)


def slow_triplet(
    positive: float,
    negatives: list[float],
    *,
    margin: float,
    semi_hard: bool = False,
    reduction: str = "mean",
    without_candidate: str = "skip",
) -> float:
    if semi_hard:
        candidates = sorted(s for s in negatives if positive - margin < s < positive)[-1:]
        if not candidates and without_candidate == "easiest":
            candidates = sorted(negatives)[:1]
        negatives = candidates
    terms = [max(s - positive + margin, 0.0) for s in negatives]
    return reduced(terms, reduction)


LOSSES: dict[str, tuple[Callable[..., Any], Callable[..., float], dict[str, Any]]] = {
    "nt_xent": (nt_xent, slow_xent, {"temperature": 0.3}),
    "nt_logistic": (nt_logistic, slow_logistic, {"temperature": 0.3}),
    "nt_logistic semi-hard": (
        nt_logistic,
        slow_logistic,
        {"temperature": 0.3, "semi_hard": True},
    ),
    "nt_logistic easiest": (
        nt_logistic,
        slow_logistic,
        {"temperature": 0.3, "semi_hard": True, "without_candidate": "easiest"},
    ),
    "nt_logistic sum": (nt_logistic, slow_logistic, {"temperature": 0.3, "reduction": "sum"}),
    "margin_triplet": (margin_triplet, slow_triplet, {"margin": 0.4}),
    "margin_triplet sum": (margin_triplet, slow_triplet, {"margin": 0.4, "reduction": "sum"}),
    "margin_triplet semi-hard": (
        margin_triplet,
        slow_triplet,
        {"margin": 0.4, "semi_hard": True},
    ),
    "margin_triplet easiest": (
        margin_triplet,
        slow_triplet,
        {"margin": 0.4, "semi_hard": True, "without_candidate": "easiest"},
    ),
}


@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def loss(self, name: str) -> Callable[..., Tensor]:
        function, _, settings = LOSSES[name]
        return partial(function, **settings)

    @pytest.mark.parametrize("n", [1, 2, 7])
    @pytest.mark.parametrize("normalize", [True, False])
    @pytest.mark.parametrize("negatives", ["both_views", "one_view"])
    def test_equals_its_formula(self, name: str, n: int, normalize: bool, negatives) -> None:
        _, slow, settings = LOSSES[name]
        z_a, near = random_pair(n, 5)
        for z_b in (near, -near):  # far positives leave anchors without a candidate
            fast = self.loss(name)(z_a, z_b, normalize=normalize, negatives=negatives)
            parts = anchors(z_a, z_b, normalize, negatives == "one_view")
            expected = sum(slow(*part, **settings) for part in parts) / (2 * n)
            assert float(fast) == pytest.approx(expected, rel=1e-11, abs=1e-13)

    def test_gradient_is_the_numerical_one(self, name: str) -> None:
        z_a, z_b = (z.requires_grad_() for z in random_pair(4, 3))
        assert torch.autograd.gradcheck(self.loss(name), (z_a, z_b))

    def test_order_of_images_and_of_views_does_not_matter(self, name: str) -> None:
        z_a, z_b = random_pair(8, 4)
        order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
        loss = self.loss(name)(z_a, z_b)
        assert torch.allclose(loss, self.loss(name)(z_a[order], z_b[order]), rtol=1e-12)
        assert torch.allclose(loss, self.loss(name)(z_b, z_a), rtol=1e-12)

    def test_gradients_follow_their_images(self, name: str) -> None:
        order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
        plain, shuffled = (
            z.requires_grad_() for z in (random_pair(8, 4)[0], random_pair(8, 4)[0][order])
        )
        z_b = random_pair(8, 4)[1]
        (first,) = torch.autograd.grad(self.loss(name)(plain, z_b), plain)
        (second,) = torch.autograd.grad(self.loss(name)(shuffled, z_b[order]), shuffled)
        assert torch.allclose(first[order], second, rtol=1e-10, atol=1e-14)

    def test_finite_at_a_hundredth(self, name: str) -> None:
        function, _, settings = LOSSES[name]
        small = {key: 0.01 for key in ("temperature", "margin") if key in settings}
        z_a, z_b = (z.float().requires_grad_() for z in random_pair(16, 8))
        loss = function(z_a, z_b, **settings | small)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(z_a.grad).all()

    def test_half_precision_is_computed_in_full(self, name: str) -> None:
        z_a, z_b = (z.bfloat16() for z in random_pair(16, 8))
        loss = self.loss(name)(z_a, z_b)
        assert loss.dtype == torch.float32
        assert torch.equal(loss, self.loss(name)(z_a.float(), z_b.float()))

    def test_autocast_changes_nothing(self, name: str) -> None:
        """At a hundredth, products in bfloat16 would move the logits by a third of a nat."""
        function, _, settings = LOSSES[name]
        small = {key: 0.01 for key in ("temperature",) if key in settings}
        z_a, z_b = (z.float().requires_grad_() for z in random_pair(16, 8))
        outside = function(z_a, z_b, **settings | small)
        with torch.autocast("cpu", torch.bfloat16):
            inside = function(z_a, z_b, **settings | small)
        assert inside.dtype == torch.float32
        assert float(inside.detach()) == pytest.approx(float(outside.detach()), rel=1e-6)
        expected = torch.autograd.grad(outside, (z_a, z_b))
        for ours, theirs in zip(torch.autograd.grad(inside, (z_a, z_b)), expected, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-8)

    def test_an_impossible_setting_is_refused(self, name: str) -> None:
        function, _, settings = LOSSES[name]
        bad = {key: -0.1 for key in ("temperature", "margin") if key in settings}
        with pytest.raises(ValueError, match=r"is -0.1; allowed"):
            function(torch.ones(2, 2), torch.ones(2, 2), **settings | bad)


def one_anchor(loss: Callable[..., Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradient by anchor u of one direction, with its positive v and its negative w."""
    u = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    v = torch.tensor([0.1, 0.4, 0.2], dtype=torch.float64)
    w = torch.tensor([0.5, 0.1, 0.3], dtype=torch.float64)
    far = torch.zeros(3, dtype=torch.float64)
    value = loss(torch.stack([u, far]), torch.stack([v, w]))
    (gradient,) = torch.autograd.grad(4 * value, u)  # mean over 2 directions x 2 anchors
    return gradient, u.detach(), v, w


def test_gradients_of_table_2() -> None:
    """One image's anchors see u.v and u.w; the second image's own anchor is the zero vector.

    u is an anchor of the first direction, the positive of v in the second, and a negative of w.
    """
    t = 0.7
    gradient, u, v, w = one_anchor(
        partial(nt_logistic, temperature=t, normalize=False, negatives="one_view")
    )
    sigmoid = torch.sigmoid
    expected = -sigmoid(-u @ v / t) / t * v + sigmoid(u @ w / t) / t * w  # as the anchor
    expected = expected - sigmoid(-u @ v / t) / t * v + sigmoid(u @ w / t) / t * w  # as the other
    assert torch.allclose(gradient, expected, rtol=1e-10)

    m = 0.4
    gradient, u, v, w = one_anchor(
        partial(margin_triplet, margin=m, normalize=False, negatives="one_view")
    )
    active = (u @ w - u @ v + m > 0).double()
    as_anchor = active * (w - v)
    as_positive = -((0 - u @ v + m > 0).double()) * v  # v's negative is the zero vector
    as_negative = ((u @ w - 0 + m > 0).double()) * w  # w's positive is the zero vector
    assert torch.allclose(gradient, as_anchor + as_positive + as_negative, rtol=1e-10)

    gradient, u, v, w = one_anchor(
        partial(nt_xent, temperature=t, normalize=False, negatives="one_view")
    )
    p = torch.softmax(torch.stack([u @ v, u @ w]) / t, dim=0)
    as_anchor = -(1 - p[0]) / t * v + p[1] / t * w
    p_v = torch.softmax(torch.stack([u @ v / t, torch.zeros((), dtype=torch.float64)]), dim=0)
    p_w = torch.softmax(torch.stack([torch.zeros((), dtype=torch.float64), u @ w / t]), dim=0)
    expected = as_anchor - (1 - p_v[0]) / t * v + p_w[1] / t * w
    assert torch.allclose(gradient, expected, rtol=1e-10)


def test_closed_forms_for_equal_projections() -> None:
    z = torch.ones(6, 4, dtype=torch.float64)
    assert float(nt_logistic(z, z, temperature=1.0)) == pytest.approx(softplus(-1) + softplus(1))
    assert float(margin_triplet(z, z, margin=0.4)) == pytest.approx(0.4)
    # Nothing is less similar than the positive: no anchor has a semi-hard negative.
    assert float(nt_logistic(z, z, temperature=1.0, semi_hard=True)) == 0.0
    assert float(margin_triplet(z, z, margin=0.4, semi_hard=True)) == 0.0


def test_far_negatives_cost_a_triplet_nothing() -> None:
    z = torch.eye(4, dtype=torch.float64)
    assert float(margin_triplet(z, z, margin=0.9)) == 0.0
    assert float(margin_triplet(z, z, margin=1.2)) == pytest.approx(0.2)
    assert float(margin_triplet(z, z, margin=0.9, semi_hard=True)) == 0.0
    assert float(margin_triplet(z, z, margin=1.2, semi_hard=True)) == pytest.approx(0.2)


def test_an_anchor_without_a_candidate_is_skipped_or_takes_its_easiest_negative() -> None:
    """Four views in the plane whose positives are opposite: nothing is less similar than -1."""
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    pair = a, -a
    assert float(nt_logistic(*pair, temperature=0.5, semi_hard=True)) == 0.0
    assert float(margin_triplet(*pair, margin=0.4, semi_hard=True)) == 0.0
    easiest = {"semi_hard": True, "without_candidate": "easiest"}
    logistic = nt_logistic(*pair, temperature=0.5, **easiest)
    assert float(logistic) == pytest.approx(softplus(2.0) + softplus(0.0))
    assert float(margin_triplet(*pair, margin=0.4, **easiest)) == pytest.approx(1.4)


def test_a_candidate_goes_before_the_easiest_negative() -> None:
    """Positives at similarity 1, negatives at 0 and farther than the margin or inside it."""
    z = torch.eye(4, dtype=torch.float64)
    easiest = {"semi_hard": True, "without_candidate": "easiest"}
    for margin in (0.9, 1.2):
        skipped = margin_triplet(z, z, margin=margin, semi_hard=True)
        assert torch.equal(margin_triplet(z, z, margin=margin, **easiest), skipped)


def test_the_sum_is_the_mean_times_the_negatives() -> None:
    pair = random_pair(7, 5)
    for negatives, count in (("both_views", 12), ("one_view", 6)):
        shared = {"margin": 0.4, "negatives": negatives}
        mean, total = (margin_triplet(*pair, reduction=r, **shared) for r in ("mean", "sum"))
        assert float(total) == pytest.approx(count * float(mean))
