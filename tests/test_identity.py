"""Keys: what they depend on, what they must not depend on, and pinned examples."""

from typing import Any

import pytest

from simclr_lab.fields import neutral_values, setting
from simclr_lab.identity import canonical, cell_key, evaluation_key
from simclr_lab.recipe import Recipe, Section, inert_fields
from simclr_lab.recipes import named_recipe

DIGEST = "d" * 64


def key(changes: dict[str, Any] | None = None, seed: int = 0) -> str:
    return cell_key(named_recipe("cifar10_resnet18").with_fields(changes or {}), seed, DIGEST)


PINNED = {
    "cifar10_resnet18": "e9ed574d64cfd8d52444",
    "cifar10_resnet50": "0ff3dea601b1ca1bc894",
}


@pytest.mark.parametrize("name", PINNED)
def test_keys_of_example_recipes_never_change(name) -> None:
    """Everyone's records are found by these. If this fails, records are lost: mend the code."""
    assert cell_key(named_recipe(name), 0, DIGEST) == PINNED[name]


def test_seed_data_and_method_version_are_part_of_the_key() -> None:
    recipe = Recipe()
    keys = {
        cell_key(recipe, 0, DIGEST),
        cell_key(recipe, 1, DIGEST),
        cell_key(recipe, 0, "e" * 64),
        cell_key(recipe, 0, DIGEST, method_version=999),
    }
    assert len(keys) == 4


ACTIVE = [
    {"loss.temperature": 0.4},
    {"projection.out_dim": 64},
    {"loss.name": "nt_logistic"},
    {"augment.operators": ["color", "crop", "blur"]},
    {"augment.operators": ["crop", "color", "blur", "sobel"]},
    {"augment.branches": "second"},
    {"augment.color_strength": 0.25},
    {"compute.precision": "bfloat16"},
    {"batch_norm.group_images": 256},
    {"data.pretrain_images": 44_000},
    {"encoder.variant": "torchvision"},
    {"augment.crop": "torchvision"},
    {"augment.brightness": "multiplicative"},
    {"optimizer.momentum": 0.8},
]


@pytest.mark.parametrize("changes", ACTIVE)
def test_a_field_that_matters_changes_the_key(changes) -> None:
    assert key(changes) != key()


SECOND = {"augment.operators": ["color"], "augment.branches": "second"}


def applied(operator: str) -> dict[str, Any]:
    return {"augment.operators": ["crop", operator]}


INERT = [
    ({"projection.depth": 0}, {"projection.out_dim": 64}),
    ({"augment.jitter_probability": 0.0}, {"augment.color_strength": 0.1}),
    ({"augment.blur_probability": 0.0}, {"augment.blur_sigma_max": 1.0}),
    ({"optimizer.name": "adamw"}, {"optimizer.trust_coefficient": 0.1}),
    ({"optimizer.name": "adamw"}, {"optimizer.momentum": 0.5}),
    ({"optimizer.name": "sgd"}, {"optimizer.trust_coefficient": 0.1}),
    ({"encoder.depth": 50}, {"encoder.variant": "torchvision"}),
    ({"encoder.depth": 50, "epochs": 0}, {"encoder.variant": "torchvision"}),
    ({"encoder.kind": "raw_pixels"}, {"encoder.variant": "torchvision"}),
    ({}, {"augment.crop": "tf", "augment.brightness": "additive"}),
    (
        {"augment.semantics": "torchvision"},
        {"augment.crop": "torchvision", "augment.brightness": "multiplicative"},
    ),
    ({"augment.operators": ["crop"]}, {"augment.brightness": "multiplicative"}),
    ({"augment.jitter_probability": 0.0}, {"augment.brightness": "multiplicative"}),
    ({"augment.color_strength": 0.0}, {"augment.brightness": "multiplicative"}),
    ({}, {"augment.base_flip": False}),
    (SECOND | {"augment.flip_probability": 0.0}, {"augment.base_flip": False}),
    (SECOND | {"augment.base_flip": False}, {"augment.flip_probability": 0.1}),
    ({}, {"augment.sobel_scaling": "fixed"}),
    (applied("sobel") | {"augment.sobel_probability": 0.0}, {"augment.sobel_scaling": "fixed"}),
    ({}, {"augment.cutout_position": "anywhere"}),
    (
        applied("cutout") | {"augment.cutout_probability": 0.0},
        {"augment.cutout_position": "anywhere"},
    ),
    ({}, {"augment.noise_law": "constant"}),
    (applied("noise") | {"augment.noise_probability": 0.0}, {"augment.noise_law": "constant"}),
    (applied("noise") | {"augment.noise_level_max": 0.0}, {"augment.noise_law": "constant"}),
    ({}, {"loss.reduction": "sum"}),
    ({"loss.name": "cross_entropy"}, {"loss.reduction": "sum"}),
    ({"loss.name": "nt_logistic", "loss.semi_hard": True}, {"loss.reduction": "sum"}),
    ({"loss.name": "nt_logistic"}, {"loss.without_candidate": "easiest"}),
    ({"loss.semi_hard": True}, {"loss.without_candidate": "easiest"}),
    ({"loss.name": "cross_entropy", "loss.semi_hard": True}, {"loss.without_candidate": "easiest"}),
    ({}, {"augment.cutout_probability": 0.5}),
    ({}, {"augment.noise_level_max": 0.1}),
    ({}, {"augment.solarize_threshold": 0.1}),
    ({}, {"augment.motion_blur_probability": 0.1}),
    ({}, {"augment.autoaugment_policy": "cifar10"}),
    ({"augment.operators": ["crop", "autoaugment"]}, {"augment.color_strength": 0.1}),
    ({}, {"augment.operators": ["crop", "color", "blur"]}),
    ({"augment.operators": ["crop"]}, {"augment.color_strength": 0.1}),
    ({"augment.operators": ["color"]}, {"augment.crop_area_min": 0.5}),
    ({}, {"loss.margin": 0.8}),
    ({}, {"loss.semi_hard": True}),
    ({"loss.name": "nt_logistic"}, {"loss.margin": 0.8}),
    ({"loss.name": "margin_triplet"}, {"loss.temperature": 0.2}),
    ({"loss.name": "cross_entropy"}, {"loss.temperature": 0.2}),
    ({"loss.name": "cross_entropy"}, {"projection.depth": 3}),
    ({"epochs": 0}, {"loss.temperature": 0.2}),
    ({"epochs": 0}, {"batch_size": 64}),
    ({}, {"evaluation.fit_images": 100}),
    ({}, {"evaluation.protocols": ["ridge"]}),
    ({}, {"data.pretrain_images": 45_000}),
    ({}, {"batch_norm.group_images": 512}),
]


@pytest.mark.parametrize(("setting_", "change"), INERT)
def test_a_field_that_cannot_matter_leaves_the_key(setting_, change) -> None:
    assert key(setting_ | change) == key(setting_)


def test_semi_hard_negatives_count_for_the_losses_that_have_them() -> None:
    for name in ("nt_logistic", "margin_triplet"):
        plain = {"loss.name": name}
        assert key(plain | {"loss.semi_hard": True}) != key(plain)
    triplet = {"loss.name": "margin_triplet"}
    assert key(triplet | {"loss.margin": 0.8}) != key(triplet)


SEMI_HARD = {"loss.semi_hard": True}
ACTIVE_UNDER = [
    ({"encoder.depth": 50, "encoder.stem": "imagenet"}, {"encoder.variant": "torchvision"}),
    ({"epochs": 0}, {"encoder.variant": "torchvision"}),
    ({"augment.semantics": "torchvision"}, {"augment.crop": "tf"}),
    ({"augment.semantics": "torchvision"}, {"augment.brightness": "additive"}),
    (SECOND, {"augment.base_flip": False}),
    (SECOND, {"augment.flip_probability": 0.1}),
    (
        SECOND | {"augment.operators": ["crop"], "augment.base_flip": False},
        {"augment.flip_probability": 0.1},
    ),
    (applied("sobel"), {"augment.sobel_scaling": "fixed"}),
    (applied("cutout"), {"augment.cutout_position": "anywhere"}),
    (applied("noise"), {"augment.noise_law": "constant"}),
    ({"loss.name": "nt_logistic"}, {"loss.reduction": "sum"}),
    ({"loss.name": "margin_triplet"}, {"loss.reduction": "sum"}),
    ({"loss.name": "nt_logistic"} | SEMI_HARD, {"loss.without_candidate": "easiest"}),
    ({"loss.name": "margin_triplet"} | SEMI_HARD, {"loss.without_candidate": "easiest"}),
]


@pytest.mark.parametrize(("setting_", "change"), ACTIVE_UNDER)
def test_what_the_paper_leaves_open_counts_where_it_is_asked(setting_, change) -> None:
    assert key(setting_ | change) != key(setting_)


LATER = {
    "encoder.variant": "paper",
    "augment.crop": "of_semantics",
    "augment.brightness": "of_semantics",
    "augment.base_flip": True,
    "augment.sobel_scaling": "min_max",
    "augment.cutout_position": "inside",
    "augment.noise_law": "uniform",
    "loss.reduction": "mean",
    "loss.without_candidate": "skip",
}


def test_every_open_choice_is_neutral_where_it_is_what_it_always_was() -> None:
    assert LATER.items() <= neutral_values(Recipe).items()
    flat = Recipe().flat()
    assert {name: flat[name] for name in LATER} == LATER


def test_the_policy_of_autoaugment_counts_where_it_is_applied() -> None:
    applied = {"augment.operators": ["crop", "autoaugment"]}
    assert key(applied | {"augment.autoaugment_policy": "svhn"}) != key(applied)


def test_what_is_inert_under_one_setting_counts_under_another() -> None:
    assert key({"projection.depth": 1, "projection.out_dim": 64}) != key({"projection.depth": 1})


def test_a_random_encoder_depends_on_its_architecture_and_seed() -> None:
    random = {"epochs": 0}
    assert key(random) != key(random | {"encoder.depth": 34})
    assert key(random) != key(random, seed=1)


def test_raw_pixels_know_no_encoder() -> None:
    pixels = {"encoder.kind": "raw_pixels"}
    assert key(pixels) == key(pixels | {"encoder.depth": 34, "epochs": 0})


def test_inert_fields_are_fields() -> None:
    for changes, _ in INERT:
        recipe = named_recipe("cifar10_resnet18").with_fields(changes)
        assert inert_fields(recipe) <= set(recipe.flat())


def test_a_later_field_has_a_neutral_value() -> None:
    class Later(Section):
        old: int = setting(1, unit="-", paper="-")
        new: str = setting("off", unit="-", paper="-", neutral="off")

    assert neutral_values(Later) == {"new": "off"}


def test_canonical_form_is_one_text_for_one_meaning() -> None:
    assert canonical({"b": 1.0, "a": 1e-6}) == '{"a":1e-06,"b":1.0}'
    with pytest.raises(ValueError, match="Out of range"):
        canonical({"a": float("inf")})


def test_what_is_asked_of_z_has_the_settings_of_h() -> None:
    plain, refit = (
        Recipe().with_fields({"evaluation.linear_refit": refit}) for refit in ("train", "train+val")
    )
    assert evaluation_key(plain, "linear_z") != evaluation_key(refit, "linear_z")
    assert evaluation_key(plain, "linear_z") != evaluation_key(plain, "linear")


def test_the_two_linear_protocols_do_not_know_each_others_settings() -> None:
    plain, longer = (Recipe().with_fields({"evaluation.sgd_epochs": n}) for n in (90, 91))
    assert evaluation_key(plain, "linear") == evaluation_key(longer, "linear")
    assert evaluation_key(plain, "linear_sgd") != evaluation_key(longer, "linear_sgd")


def test_a_later_setting_of_an_evaluation_leaves_old_keys_alone() -> None:
    assert evaluation_key(Recipe(), "linear_sgd") == "eab0047c7d072069d7ea"
    constant = Recipe().with_fields({"evaluation.sgd_schedule": "constant"})
    assert evaluation_key(constant, "linear_sgd") != evaluation_key(Recipe(), "linear_sgd")


def test_evaluation_keys_know_their_own_settings_only() -> None:
    base = Recipe()
    refit = base.with_fields({"evaluation.linear_refit": "train+val"})
    fewer = base.with_fields({"evaluation.fit_images": 1000})
    other = base.with_fields({"loss.temperature": 0.5, "epochs": 50})
    assert evaluation_key(base, "linear") != evaluation_key(refit, "linear")
    assert evaluation_key(base, "ridge") == evaluation_key(refit, "ridge")
    assert evaluation_key(base, "ridge") != evaluation_key(fewer, "ridge")
    assert evaluation_key(base, "linear") == evaluation_key(other, "linear")
