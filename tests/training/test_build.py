"""Every field of a recipe reaches the object that it is about, as a direct call would build it."""

from typing import Any

import pytest
import torch
from small import small_recipe
from torch import nn

from simclr_lab.contrastive.augment import TwoViews, make_operators, ordered_policy
from simclr_lab.contrastive.batch_norm import GroupBatchNorm
from simclr_lab.contrastive.diagnostics import contrastive_accuracy, contrastive_entropy
from simclr_lab.contrastive.draws import generator
from simclr_lab.contrastive.encoder import RawPixels, resnet
from simclr_lab.contrastive.lars import LARS
from simclr_lab.contrastive.losses import margin_triplet, nt_logistic, nt_xent
from simclr_lab.contrastive.parameters import parameter_groups
from simclr_lab.contrastive.projection import projection_head
from simclr_lab.contrastive.supervised import classifier, cross_entropy, views_top1
from simclr_lab.sections import Augment, Encoder, Loss, Optimizer, Projection
from simclr_lab.training.build import (
    build_loss,
    build_measures,
    build_model,
    build_optimizer,
    build_views,
)

OPERATORS = {
    "semantics": "torchvision",
    "crop": "torchvision",
    "brightness": "multiplicative",
    "base_flip": False,
    "color_strength": 0.7,
    "crop_area_min": 0.21,
    "flip_probability": 0.41,
    "jitter_probability": 0.61,
    "color_drop_probability": 0.31,
    "blur_probability": 0.71,
    "blur_sigma_min": 0.3,
    "blur_sigma_max": 1.3,
    "blur_sigma_scope": "image",
    "cutout_probability": 0.11,
    "cutout_position": "anywhere",
    "noise_probability": 0.12,
    "noise_level_max": 0.13,
    "noise_law": "constant",
    "sobel_probability": 0.14,
    "sobel_scaling": "fixed",
    "equalize_probability": 0.15,
    "solarize_probability": 0.16,
    "solarize_threshold": 0.17,
    "motion_blur_probability": 0.18,
    "autoaugment_policy": "cifar10",
}
"""A value of each setting of the operators that is nobody's default."""

ORDER = (
    *("autoaugment", "motion_blur", "solarize", "equalize", "sobel", "noise", "cutout"),
    *("rotate", "blur", "color", "crop"),
)
LOSS = {
    "temperature": 0.37,
    "margin": 0.9,
    "semi_hard": True,
    "reduction": "sum",
    "without_candidate": "easiest",
    "normalize": False,
    "negatives": "one_view",
    "scale": "paper",
}
MINED = ("semi_hard", "reduction", "without_candidate")


def in_section(section: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{section}__{name}": value for name, value in values.items()}


def augmented(order: tuple[str, ...] = ORDER, **values: Any) -> TwoViews:
    fields = in_section("augment", values) | {"augment__operators": order}
    return build_views(small_recipe(**{"augment__blur_probability": 0.5} | fields))


def test_every_field_is_given_a_value_here() -> None:
    assert set(Augment.model_fields) == set(OPERATORS) | {"operators", "branches"}
    assert set(Loss.model_fields) == set(LOSS) | {"name"}


@pytest.mark.parametrize("branches", ["both", "second"])
def test_views_are_those_of_a_direct_call(branches: str) -> None:
    found = augmented(**OPERATORS, branches=branches)
    expected = ordered_policy(make_operators(**OPERATORS), ORDER, branches)
    assert found == TwoViews(expected, 16)
    wide = small_recipe(data__image_size=24, compute__precision="float64")
    assert (build_views(wide).size, build_views(wide).dtype) == (24, torch.float64)


@pytest.mark.parametrize("name", OPERATORS)
def test_each_setting_of_an_operator_is_passed_alone(name: str) -> None:
    alone = {name: OPERATORS[name]}
    defaults = {"color_strength": 0.5, "blur_probability": 0.5}
    branches = "second" if name == "base_flip" else "both"  # only one branch has a shared crop
    expected = ordered_policy(make_operators(**defaults | alone), ORDER, branches)
    assert augmented(**alone, branches=branches).policy == expected
    assert augmented(**alone, branches=branches) != augmented(branches=branches)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Twelve pairs; nothing is less like the first image than its own other view."""
    draws = torch.Generator().manual_seed(0)
    z_a = torch.randn(12, 6, generator=draws, dtype=torch.float64) / 2
    z_b = z_a + torch.randn(12, 6, generator=draws, dtype=torch.float64) / 2
    z_b[0] = -z_a[0]
    return z_a, z_b, torch.arange(12) % 3


def direct_loss(name: str, values: dict[str, Any]) -> torch.Tensor:
    z_a, z_b, labels = batch()
    if name == "cross_entropy":
        return cross_entropy(z_a, z_b, labels)
    common = {name: values[name] for name in ("normalize", "negatives")}
    factor = {"code": 2.0, "paper": 1.0}[values["scale"]]
    if name == "nt_xent":
        return factor * nt_xent(z_a, z_b, temperature=values["temperature"], **common)
    common |= {name: values[name] for name in MINED}
    if name == "nt_logistic":
        return factor * nt_logistic(z_a, z_b, temperature=values["temperature"], **common)
    return factor * margin_triplet(z_a, z_b, margin=values["margin"], **common)


def built_loss(name: str, values: dict[str, Any]) -> float:
    recipe = small_recipe(**in_section("loss", values | {"name": name}))
    return float(build_loss(recipe)(*batch()))


USED = {
    "nt_xent": {"temperature", "normalize", "negatives", "scale"},
    "nt_logistic": {"temperature", *MINED, "normalize", "negatives", "scale"},
    "margin_triplet": {"margin", *MINED, "normalize", "negatives", "scale"},
    "cross_entropy": set(),
}


@pytest.mark.parametrize("name", USED)
def test_losses_are_those_of_a_direct_call(name: str) -> None:
    assert built_loss(name, LOSS) == pytest.approx(float(direct_loss(name, LOSS)), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, used in USED.items() for field in sorted(used)]
)
def test_each_setting_of_a_loss_is_passed_alone(name: str, field: str) -> None:
    # Only semi-hard anchors can be without a candidate.
    base = {"semi_hard": True} if field == "without_candidate" else {}
    defaults = Loss().model_dump() | {"temperature": 0.1} | base
    alone = base | {field: LOSS[field]}
    expected = float(direct_loss(name, defaults | alone))
    assert built_loss(name, alone) == pytest.approx(expected, rel=1e-12)
    assert abs(built_loss(name, alone) - built_loss(name, base)) > 1e-3


def test_measures_are_those_of_a_direct_call() -> None:
    measures = build_measures(small_recipe(**in_section("loss", LOSS)))
    z_a, z_b, labels = batch()
    settings = {"temperature": 0.37, "normalize": False}
    expected = {
        "train/contrastive_accuracy": 100 * contrastive_accuracy(z_a, z_b, **settings),
        "train/contrastive_entropy": contrastive_entropy(z_a, z_b, **settings),
    }
    found = {name: measure(z_a, z_b, labels) for name, measure in measures.items()}
    assert found == expected
    (top1,) = build_measures(small_recipe(loss__name="cross_entropy")).values()
    assert top1(*batch()) == views_top1(*batch())


OPTIMIZER = {
    "learning_rate": 0.05,
    "learning_rate_rule": "linear",
    "momentum": 0.7,
    "weight_decay": 0.003,
    "trust_coefficient": 0.02,
    "nesterov": True,
}


def direct_optimizer(name: str, model: nn.Module, rate: float) -> torch.optim.Optimizer:
    adapted, excluded = parameter_groups(model)
    groups = [
        {"params": adapted, "adapt": True},
        {"params": excluded, "adapt": False, "weight_decay": 0.0},
    ]
    shared = {"weight_decay": 0.003}
    if name == "adamw":
        return torch.optim.AdamW(groups, rate, **shared)
    shared |= {"momentum": 0.7, "nesterov": True}
    if name == "sgd":
        return torch.optim.SGD(groups, rate, **shared)
    return LARS(groups, rate, trust_coefficient=0.02, **shared)


@pytest.mark.parametrize("name", ["lars", "sgd", "adamw"])
def test_optimizers_are_those_of_a_direct_call(name: str) -> None:
    elsewhere = {
        "name",
        "warmup",
        "warmup_unit",
        "schedule",
    }  # how the rate moves from step to step
    assert set(Optimizer.model_fields) == set(OPTIMIZER) | elsewhere
    recipe = small_recipe(**in_section("optimizer", OPTIMIZER | {"name": name}))
    model = build_model(recipe, 0)
    found = build_optimizer(recipe, model)
    expected = direct_optimizer(name, model, 0.05 * 16 / 256)
    assert type(found) is type(expected)
    for ours, theirs in zip(found.param_groups, expected.param_groups, strict=True):
        assert [id(p) for p in ours["params"]] == [id(p) for p in theirs["params"]]
        assert {k: v for k, v in ours.items() if k != "params"} == {
            k: v for k, v in theirs.items() if k != "params"
        }


def assert_same_module(found: nn.Module, expected: nn.Module) -> None:
    assert repr(found) == repr(expected)
    ours, theirs = found.state_dict(), expected.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("stem", ["imagenet", "cifar", "stride2"])
def test_the_encoder_is_that_of_a_direct_call(stem: str) -> None:
    assert set(Encoder.model_fields) == {"kind", "depth", "width", "channels", "stem", "variant"}
    recipe = small_recipe(
        encoder__depth=34,
        encoder__width=2,
        encoder__channels=16,
        encoder__stem=stem,
        encoder__variant="torchvision",
        batch_norm__group_images=4,
    )
    found = build_model(recipe, 3).encoder
    draws = generator(3, "encoder")
    expected = resnet(34, 2, stem, "torchvision", channels=16, group_images=4, generator=draws)
    assert_same_module(found, expected)
    assert (found.stem, found.variant, found.recompute) == (stem, "torchvision", False)
    kept = small_recipe(compute__activation_checkpointing=True)
    assert build_model(kept, 3).encoder.recompute
    norms = [m for m in build_model(kept, 3).modules() if isinstance(m, GroupBatchNorm)]
    assert {norm.group_images for norm in norms} == {None}


def test_the_head_is_that_of_a_direct_call() -> None:
    assert set(Projection.model_fields) == {"depth", "out_dim"}
    recipe = small_recipe(projection__depth=3, projection__out_dim=24, batch_norm__group_images=4)
    draws = generator(3, "projection")
    expected = projection_head(64, 24, 3, group_images=4, generator=draws)
    assert_same_module(build_model(recipe, 3).head, expected)
    supervised = build_model(small_recipe(loss__name="cross_entropy"), 3)
    assert_same_module(supervised.head, classifier(64, 10))
    assert isinstance(build_model(small_recipe(epochs=0), 3).head, nn.Identity)


def test_the_rest_of_the_model_is_as_the_recipe_says() -> None:
    raw = build_model(small_recipe(encoder__kind="raw_pixels", data__image_size=24), 0)
    assert isinstance(raw.encoder, RawPixels)
    assert raw.encoder.feature_dim == 3 * 24**2
    wide = build_model(small_recipe(compute__precision="float64"), 0)
    assert {p.dtype for p in wide.parameters()} == {torch.float64}
    last = build_model(small_recipe(compute__channels_last=True), 0).encoder.layer2[0].conv2.weight
    assert last.is_contiguous(memory_format=torch.channels_last)
