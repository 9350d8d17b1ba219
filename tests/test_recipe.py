"""Recipes: the paper's defaults, derived values, and errors that name the field."""

import pickle

import pytest

from simclr_lab.fields import FieldError, flatten, leaves, nest
from simclr_lab.recipe import Recipe
from simclr_lab.recipes import SCALES, named_recipe


def test_defaults_are_the_papers_first_version() -> None:
    recipe = Recipe()
    assert recipe.batch_size == 4096
    assert recipe.epochs == 100
    assert recipe.peak_learning_rate == pytest.approx(4.8)
    assert recipe.optimizer.weight_decay == 1e-6
    assert recipe.projection.depth == 2
    assert recipe.loss.scale == "code"


def test_every_field_names_its_unit_and_the_papers_section() -> None:
    for path, info in leaves(Recipe):
        assert info.json_schema_extra["unit"], path
        assert info.json_schema_extra["paper"], path


def test_derived_values_of_the_official_cifar_setting() -> None:
    """Spec 6.2: CIFAR, batch 512, 1,000 epochs of 50,000 images, learning rate 1.0."""
    recipe = named_recipe("cifar10_resnet18").with_fields({"data.pretrain_split": "train+val"})
    assert (recipe.warmup_steps, recipe.total_steps) == (976, 97_657)
    assert recipe.peak_learning_rate == 2.0


def test_linear_and_sqrt_rules_agree_at_4096() -> None:
    sqrt = {"optimizer.learning_rate_rule": "sqrt", "optimizer.learning_rate": 0.075}
    assert Recipe().with_fields(sqrt).peak_learning_rate == pytest.approx(
        Recipe().peak_learning_rate
    )


NO_NEGATIVE = {"loss.name": "margin_triplet", "loss.margin": 0.0, "loss.semi_hard": True}
BAD = [
    ({"loss.temprature": 0.1}, "loss.temprature", "loss.temperature"),
    ({"temperature": 0.1}, "temperature", "loss.temperature"),
    ({"loss.temperature": -0.1}, "loss.temperature", "greater than 0"),
    ({"loss.temperature": "0.1"}, "loss.temperature", "number"),
    ({"loss.temperature": float("nan")}, "loss.temperature", "finite"),
    ({"loss.normalize": "true"}, "loss.normalize", "boolean"),
    ({"batch_size": 128.0}, "batch_size", "integer"),
    ({"batch_size": 60_000}, "", "45000 pretraining images"),
    ({"encoder.depth": 20}, "encoder.depth", "18, 34, 50, 101 or 152"),
    ({"augment.color_strength": 1.5}, "augment.color_strength", "1.25"),
    ({"batch_norm.group_images": 1000}, "", "divisors of batch_size"),
    ({"data.pretrain_images": 50_000}, "", "45000"),
    ({"optimizer.learning_rate_rule": "sqrt"}, "optimizer.learning_rate_rule", "both together"),
    ({"epochs": 5}, "", "never reach its peak"),
    (NO_NEGATIVE, "loss", "a margin above 0, semi_hard false, or without_candidate 'easiest'"),
    ({"encoder.variant": "v2"}, "encoder.variant", "'paper' or 'torchvision'"),
    ({"augment.crop": "keras"}, "augment.crop", "'of_semantics', 'tf' or 'torchvision'"),
    ({"augment.brightness": "off"}, "augment.brightness", "'additive' or 'multiplicative'"),
    ({"augment.base_flip": 1}, "augment.base_flip", "boolean"),
    ({"augment.sobel_scaling": "abs"}, "augment.sobel_scaling", "'min_max' or 'fixed'"),
    ({"augment.cutout_position": "out"}, "augment.cutout_position", "'inside' or 'anywhere'"),
    ({"augment.noise_law": "normal"}, "augment.noise_law", "'uniform' or 'constant'"),
    ({"loss.reduction": "max"}, "loss.reduction", "'mean' or 'sum'"),
    ({"loss.without_candidate": "any"}, "loss.without_candidate", "'skip' or 'easiest'"),
]


@pytest.mark.parametrize(("changes", "field", "hint"), BAD)
def test_bad_values_are_refused_with_field_and_remedy(changes, field, hint) -> None:
    with pytest.raises(FieldError) as caught:
        Recipe().with_fields(changes)
    assert caught.value.field == field
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"loss.margin": 0.4},
        {"loss.semi_hard": False},
        {"loss.without_candidate": "easiest"},
        {"loss.name": "nt_logistic"},
    ],
)
def test_a_margin_of_zero_is_refused_only_where_it_leaves_no_negative(change) -> None:
    Recipe().with_fields(NO_NEGATIVE | change)


def test_a_rule_without_its_rate_is_refused_at_construction_too() -> None:
    with pytest.raises(ValueError, match="learning_rate_rule"):
        Recipe.model_validate({"optimizer": {"learning_rate_rule": "sqrt"}})


def test_unknown_scale_lists_the_known_ones() -> None:
    with pytest.raises(FieldError, match="laptop"):
        named_recipe("labtop")


@pytest.mark.parametrize("name", SCALES)
def test_scales_are_valid_and_survive_json_and_pickle(name) -> None:
    recipe = named_recipe(name)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert recipe.with_fields({}) == recipe


def test_flatten_and_nest_are_inverse() -> None:
    tree = Recipe().model_dump()
    assert nest(flatten(tree)) == tree


def test_recipes_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().epochs = 3
