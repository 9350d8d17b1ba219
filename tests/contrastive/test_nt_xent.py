"""NT-Xent against a triple loop of Eq. 1, closed forms, and the official code's values."""

import math

import pytest
import torch
from projections import golden_pairs, random_pair
from torch import Tensor

from simclr_lab.contrastive.losses import nt_xent


def slow_nt_xent(
    z_a: Tensor, z_b: Tensor, temperature: float, *, normalize: bool, one_view: bool = False
) -> float:
    """Eq. 1 word for word, one exponential at a time."""
    rows = [[float(x) for x in row] for row in torch.cat([z_a, z_b])]
    n = len(z_a)
    if normalize:
        rows = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]

    def similarity(i: int, k: int) -> float:
        return sum(x * y for x, y in zip(rows[i], rows[k], strict=True)) / temperature

    total = 0.0
    for i in range(2 * n):
        positive = (i + n) % (2 * n)
        others = [k for k in range(2 * n) if k != i and (not one_view or (k < n) != (i < n))]
        top = max(similarity(i, k) for k in others)
        denominator = sum(math.exp(similarity(i, k) - top) for k in others)
        total += top + math.log(denominator) - similarity(i, positive)
    return total / (2 * n)


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize(("temperature", "normalize"), [(0.1, True), (0.5, True), (3.0, False)])
@pytest.mark.parametrize("negatives", ["both_views", "one_view"])
def test_equals_the_triple_loop(n: int, temperature: float, normalize: bool, negatives) -> None:
    z_a, z_b = random_pair(n, 5)
    fast = nt_xent(z_a, z_b, temperature=temperature, normalize=normalize, negatives=negatives)
    slow = slow_nt_xent(
        z_a, z_b, temperature, normalize=normalize, one_view=negatives == "one_view"
    )
    assert float(fast) == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize(("case", "z_a", "z_b"), golden_pairs())
def test_official_values(case, z_a: Tensor, z_b: Tensor) -> None:
    z = torch.cat([z_a, z_b]).requires_grad_()
    loss = nt_xent(*z.chunk(2), temperature=case["temperature"], normalize=case["hidden_norm"])
    assert float(loss.detach()) == pytest.approx(case["paper_loss_L"], rel=1e-9)
    (gradient,) = torch.autograd.grad(2 * loss, z)  # the official loss is twice Eq. 1
    expected = case["grad_norm_of_official_loss_wrt_z"]
    assert float(gradient.norm()) == pytest.approx(expected, rel=2e-5)


def test_gradient_is_the_numerical_one() -> None:
    z_a, z_b = (z.requires_grad_() for z in random_pair(4, 3))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, temperature=0.3), (z_a, z_b))


def test_equal_projections_cost_the_log_of_the_candidates() -> None:
    z = torch.ones(6, 4, dtype=torch.float64)
    both = nt_xent(z, z, temperature=0.1)
    one = nt_xent(z, z, temperature=0.1, negatives="one_view")
    assert float(both) == pytest.approx(math.log(2 * 6 - 1), rel=1e-12)
    assert float(one) == pytest.approx(math.log(6), rel=1e-12)


def test_order_of_images_and_of_views_does_not_matter() -> None:
    z_a, z_b = random_pair(8, 4)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    loss = nt_xent(z_a, z_b, temperature=0.2)
    assert torch.allclose(loss, nt_xent(z_a[order], z_b[order], temperature=0.2), rtol=1e-12)
    assert torch.allclose(loss, nt_xent(z_b, z_a, temperature=0.2), rtol=1e-12)


def test_normalised_loss_ignores_lengths_and_the_other_does_not() -> None:
    z_a, z_b = random_pair(5, 4)
    scaled = nt_xent(3 * z_a, 7 * z_b, temperature=0.2)
    assert torch.allclose(scaled, nt_xent(z_a, z_b, temperature=0.2), rtol=1e-12)
    plain = nt_xent(z_a, z_b, temperature=0.2, normalize=False)
    assert not torch.allclose(nt_xent(3 * z_a, z_b, temperature=0.2, normalize=False), plain)


def test_finite_at_a_temperature_of_a_hundredth() -> None:
    z_a, z_b = (z.float().requires_grad_() for z in random_pair(16, 8))
    loss = nt_xent(z_a, z_b, temperature=0.01)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z_a.grad).all()


def test_half_precision_is_computed_in_full() -> None:
    z_a, z_b = (z.bfloat16() for z in random_pair(16, 8))
    loss = nt_xent(z_a, z_b, temperature=0.05)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, nt_xent(z_a.float(), z_b.float(), temperature=0.05))


@pytest.mark.parametrize("temperature", [0.0, -0.1])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature is {temperature}; allowed"):
        nt_xent(torch.ones(2, 2), torch.ones(2, 2), temperature=temperature)


def test_views_of_different_shape_are_refused() -> None:
    from beartype.roar import BeartypeException
    from jaxtyping import TypeCheckError

    with pytest.raises((TypeCheckError, BeartypeException)):
        nt_xent(torch.ones(2, 3), torch.ones(3, 3), temperature=0.1)
