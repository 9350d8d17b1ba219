"""Contrastive accuracy and entropy against loops and official values; the geometry of h."""

import math

import pytest
import torch
from projections import golden_pairs, random_pair

from simclr_lab.contrastive.diagnostics import (
    alignment,
    contrastive_accuracy,
    contrastive_entropy,
    effective_rank,
    feature_std,
    uniformity,
)


@pytest.mark.parametrize(("case", "z_a", "z_b"), golden_pairs())
def test_official_values(case, z_a, z_b) -> None:
    settings = {"temperature": case["temperature"], "normalize": case["hidden_norm"]}
    assert float(contrastive_accuracy(z_a, z_b, **settings)) == case["contrast_acc"]
    entropy = float(contrastive_entropy(z_a, z_b, **settings))
    assert entropy == pytest.approx(case["contrast_entropy_nats"], abs=2e-6)


def test_autocast_changes_nothing() -> None:
    pair = tuple(z.float() for z in random_pair(64, 8))
    for measure in (contrastive_accuracy, contrastive_entropy):
        outside = measure(*pair, temperature=0.01)
        with torch.autocast("cpu", torch.bfloat16):
            inside = measure(*pair, temperature=0.01)
        assert inside.dtype == torch.float32
        assert torch.equal(inside, outside)


def test_equal_projections_have_the_largest_entropy() -> None:
    z = torch.ones(9, 3, dtype=torch.float64)
    entropy = contrastive_entropy(z, z, temperature=0.1)
    assert float(entropy) == pytest.approx(math.log(9), abs=1e-6)


def test_far_apart_images_are_all_found() -> None:
    z = torch.eye(6, dtype=torch.float64)
    assert contrastive_accuracy(z, z, temperature=0.1) == 1.0
    assert contrastive_accuracy(z, z.roll(1, dims=0), temperature=0.1) == 0.0
    assert float(contrastive_entropy(z, z, temperature=0.01)) < 1e-6


def test_alignment_and_uniformity_equal_their_loops() -> None:
    z_a, z_b = random_pair(5, 3)
    unit_a, unit_b = (z / z.norm(dim=1, keepdim=True) for z in (z_a, z_b))
    distances = [float((unit_a[i] - unit_b[i]).norm() ** 2) for i in range(5)]
    assert float(alignment(z_a, z_b)) == pytest.approx(sum(distances) / 5)
    potentials = [
        math.exp(-2 * float((unit_a[i] - unit_a[j]).norm() ** 2))
        for i in range(5)
        for j in range(i + 1, 5)
    ]
    assert float(uniformity(z_a)) == pytest.approx(math.log(sum(potentials) / len(potentials)))


def test_effective_rank_counts_directions() -> None:
    basis = torch.eye(4, dtype=torch.float64)
    even = torch.cat([basis[:3], -basis[:3]])
    assert float(effective_rank(even)) == pytest.approx(3.0)
    line = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None] * basis[:1]
    assert float(effective_rank(line)) == pytest.approx(1.0)


def test_feature_std_of_one_point_and_of_the_sphere() -> None:
    assert float(feature_std(torch.ones(10, 4))) < 1e-6
    generator = torch.Generator().manual_seed(0)
    sphere = torch.randn(20_000, 16, generator=generator)
    assert float(feature_std(sphere)) == pytest.approx(1 / 4, rel=0.01)
