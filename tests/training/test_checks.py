"""Looks at a model on fixed images: the same for every cell, and without a trace in the model."""

import math

import pytest
import torch
from small import pictures, small_recipe

from simclr_lab.contrastive.diagnostics import (
    alignment,
    contrastive_entropy,
    effective_rank,
    feature_std,
    uniformity,
)
from simclr_lab.training import checks
from simclr_lab.training.build import build_model


def model_of(**changes):
    recipe = small_recipe(**changes)
    return recipe, build_model(recipe, 0)


def test_the_model_is_left_as_it_was() -> None:
    recipe, model = model_of()
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    checks.epoch_diagnostics(recipe, model, pictures(40))
    checks.final_checks(recipe, model, pictures(40))
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_views_are_the_same_for_every_model_and_differ_from_each_other() -> None:
    recipe, model = model_of()
    _, other = small_recipe(), build_model(recipe, 1)
    first, again = (checks.embed(recipe, m, pictures(40)) for m in (model, model))
    assert torch.equal(first.z_a, again.z_a)
    assert not torch.allclose(first.z_a, first.z_b)
    assert not torch.allclose(first.z_a, checks.embed(recipe, other, pictures(40)).z_a)


def test_chunks_do_not_matter(monkeypatch) -> None:
    recipe, model = model_of()
    whole = checks.embed(recipe, model, pictures(40))
    monkeypatch.setattr(checks, "_CHUNK", 7)
    assert torch.allclose(checks.embed(recipe, model, pictures(40)).h, whole.h, atol=1e-6)


def test_table_5s_columns_are_those_of_the_embedded_views() -> None:
    recipe, model = model_of(loss__temperature=0.3)
    metrics, collapsed = checks.final_checks(recipe, model, pictures(40))
    embedded = checks.embed(recipe, model, pictures(40))
    entropy = contrastive_entropy(embedded.z_a, embedded.z_b, temperature=0.3)
    assert metrics["val/contrastive_entropy"] == pytest.approx(float(entropy))
    assert 0 <= metrics["val/contrastive_accuracy"] <= 100
    assert not collapsed


def test_table_5_is_of_4096_images_and_the_geometry_of_512(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, model = model_of()
    embed, seen = checks.embed, []

    def counted(recipe, model, images):
        seen.append(len(images))
        return embed(recipe, model, images[:20])

    monkeypatch.setattr(checks, "embed", counted)
    many = pictures(20).repeat(300, 1, 1, 1)
    checks.final_checks(recipe, model, many)
    checks.epoch_diagnostics(recipe, model, many)
    assert seen == [4096, 512] == [checks.CHECK_IMAGES, checks.EPOCH_IMAGES]


def test_geometry_is_that_of_the_embedded_views() -> None:
    recipe, model = model_of()
    found = checks.epoch_diagnostics(recipe, model, pictures(40))
    embedded = checks.embed(recipe, model, pictures(40))
    h, z_a, z_b = embedded.h, embedded.z_a, embedded.z_b
    assert found == {
        "val/alignment": float(alignment(z_a, z_b)),
        "val/uniformity": float(uniformity(z_a)),
        "val/effective_rank_h": float(effective_rank(h)),
        "val/effective_rank_z": float(effective_rank(z_a)),
        "val/feature_std": pytest.approx(8 * float(feature_std(h))),  # sqrt(64)
    }
    assert found["val/uniformity"] != float(uniformity(h))


def test_geometry_has_its_bounds() -> None:
    recipe, model = model_of()
    found = checks.epoch_diagnostics(recipe, model, pictures(40))
    assert 0 < found["val/alignment"] < 4
    assert -8 <= found["val/uniformity"] <= 0
    assert 1 <= found["val/effective_rank_h"] <= 64
    assert 1 <= found["val/effective_rank_z"] <= 16
    assert all(math.isfinite(value) for value in found.values())


def test_an_encoder_that_says_one_thing_has_collapsed() -> None:
    recipe, model = model_of()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
        model.encoder.layer4[1].bn2.bias.fill_(1.0)
    _, collapsed = checks.final_checks(recipe, model, pictures(40))
    assert collapsed
    assert checks.epoch_diagnostics(recipe, model, pictures(40))["val/feature_std"] < 1e-3


def test_a_loss_without_temperature_has_a_fixed_one_here() -> None:
    triplet = {"loss__name": "margin_triplet"}
    found = [
        checks.final_checks(*model_of(loss__temperature=t, **triplet), pictures(40))[0]
        for t in (0.05, 0.5)
    ]
    assert found[0] == found[1]
