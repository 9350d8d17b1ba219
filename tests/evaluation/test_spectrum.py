"""The spectrum of a linear head: closed forms, and both readings of the batch norm."""

import pytest
import torch
from small import small_recipe
from torch import nn

from simclr_lab.contrastive.projection import projection_head
from simclr_lab.evaluation.spectrum import folded, spectrum, squared_eigenvalues
from simclr_lab.fields import FieldError


def test_eigenvalues_of_matrices_whose_eigenvalues_are_known() -> None:
    assert squared_eigenvalues(torch.diag(torch.tensor([1.0, -3.0, 2.0]))).tolist() == [9, 4, 1]
    upper = torch.tensor([[2.0, 5.0], [0.0, 1.0]])
    assert squared_eigenvalues(upper).tolist() == pytest.approx([4, 1])
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])  # eigenvalues 0.6 + 0.8 i and its conjugate
    assert squared_eigenvalues(turn).tolist() == pytest.approx([0.36, 0.36])


def test_they_are_roots_of_the_characteristic_polynomial() -> None:
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    symmetric = half + half.T
    for value in squared_eigenvalues(symmetric):
        for root in (value.sqrt(), -value.sqrt()):
            shifted = symmetric - root * torch.eye(6, dtype=torch.float64)
            if abs(float(torch.linalg.det(shifted))) < 1e-6:
                break
        else:
            pytest.fail(f"{float(value)} is no squared eigenvalue")


def head(width: int = 8) -> nn.Module:
    made = projection_head(width, width, 1, generator=torch.Generator().manual_seed(0))
    made[1].running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made[1].weight.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    return made


def test_the_folded_matrix_is_what_the_head_multiplies_with() -> None:
    made = head().eval()
    a, b = torch.rand(2, 8, generator=torch.Generator().manual_seed(3))
    change = made(torch.stack([a, b])).diff(dim=0)[0]
    assert torch.allclose(folded(*made) @ (b - a), change, atol=1e-6)


def test_both_readings_are_kept_and_summarised() -> None:
    found = spectrum(head())
    plain, with_norm = (
        found.arrays[name] for name in ("squared_eigenvalues", "folded_squared_eigenvalues")
    )
    assert plain.shape == with_norm.shape == (8,)
    assert not torch.allclose(plain, with_norm)
    count = int(found.metrics["values_for_90_percent"])
    assert plain[:count].sum() >= 0.9 * plain.sum() > plain[: count - 1].sum()


def test_a_head_without_a_matrix_has_none() -> None:
    assert not spectrum(nn.Identity()).metrics
    with pytest.raises(ValueError, match=r"is \(4, 8\); allowed: square"):
        spectrum(projection_head(8, 4, 1))


def test_a_recipe_whose_head_is_not_square_is_refused() -> None:
    asked = {"evaluation__protocols": ["spectrum"]}
    small_recipe(projection__depth=1, projection__out_dim=64, **asked)  # 8 channels: h is 64 wide
    small_recipe(epochs=0, **asked)
    for wrong in ({"projection__depth": 2}, {"projection__depth": 1, "projection__out_dim": 32}):
        with pytest.raises(FieldError, match=r"a linear head .depth 1. as wide as h, 64"):
            small_recipe(**wrong, **asked)
