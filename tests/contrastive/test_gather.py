"""Global negatives: W workers give the loss and the gradient of one, for every form of the loss."""

import itertools

import pytest
import torch
import workers
from distributed import run_workers

SETTINGS = [
    loss | {"normalize": normalize, "negatives": negatives}
    for loss, normalize, negatives in itertools.product(
        [
            {"loss": "nt_xent", "temperature": 0.1},
            {"loss": "nt_xent", "temperature": 5.0},
            {"loss": "nt_logistic", "temperature": 0.2},
            {"loss": "nt_logistic", "temperature": 0.2, "semi_hard": True},
            {"loss": "nt_logistic", "temperature": 0.2, "reduction": "sum"},
            {
                "loss": "nt_logistic",
                "temperature": 0.2,
                "semi_hard": True,
                "without_candidate": "easiest",
            },
            {"loss": "margin_triplet", "margin": 0.4},
            {"loss": "margin_triplet", "margin": 0.8, "semi_hard": True},
        ],
        [True, False],
        ["both_views", "one_view"],
    )
]


@pytest.fixture(scope="module")
def problem() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, 6, generator=generator, dtype=torch.float64)
    x[1] = x[0] + 0.5 * x[1]
    return x, torch.randn(6, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_workers_equal_one(problem, world_size: int) -> None:
    expected = workers.losses_and_gradients(*problem, SETTINGS)
    for found in run_workers(workers.losses_and_gradients, world_size, *problem, SETTINGS):
        for ours, theirs in zip(found, expected, strict=True):
            for name, value in theirs.items():
                assert torch.allclose(ours[name], value, rtol=1e-12, atol=1e-14), name


EXACT = {"local anchors, sum over ranks", "whole loss, sum over ranks"}


def test_of_six_gathers_in_circulation_two_are_exact(problem) -> None:
    """The comparison above has teeth: spec 2.3's four wrong gathers fail it."""
    exact = workers.loss_and_gradient(*problem, {"temperature": 0.5, "normalize": True})["gradient"]
    found = run_workers(workers.gather_variants, 4, *problem)[0]
    assert len(found) == 6
    for name, gradient in found.items():
        error = float((gradient - exact).norm() / exact.norm())
        assert (error < 1e-12) if name in EXACT else (error > 1e-2), (name, error)
    assert torch.allclose(4 * found["whole loss, own slot"], exact, rtol=1e-12)  # 1/R, exactly


def test_what_one_worker_does_alone_waits_for_nobody() -> None:
    local = torch.ones(3, 2)
    assert torch.equal(run_workers(workers.gathered_alone, 2, local)[0], local)
