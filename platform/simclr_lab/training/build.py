"""From a recipe to the objects of the science: the one place that unpacks settings."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from simclr_lab.contrastive.augment import TwoViews, make_operators, ordered_policy
from simclr_lab.contrastive.diagnostics import contrastive_accuracy, contrastive_entropy
from simclr_lab.contrastive.draws import generator
from simclr_lab.contrastive.encoder import RawPixels, resnet
from simclr_lab.contrastive.lars import LARS
from simclr_lab.contrastive.losses import margin_triplet, nt_logistic, nt_xent
from simclr_lab.contrastive.model import SimCLR
from simclr_lab.contrastive.parameters import parameter_groups
from simclr_lab.contrastive.projection import projection_head
from simclr_lab.contrastive.supervised import classifier, cross_entropy, views_top1
from simclr_lab.recipe import DATASET_CLASSES, Recipe

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""Type of parameters and images; bfloat16 keeps them in float32 and autocasts the forward."""

FIXED_TEMPERATURE = 0.1
"""Of the contrastive entropy under losses that have no temperature."""


class ViewLoss(Protocol):
    """A number of both views' projections and the images' labels; only the baseline reads these."""

    def __call__(self, z_a: Tensor, z_b: Tensor, labels: Tensor) -> Tensor:
        """Scalar; rows are this worker's images."""
        ...


def build_model(recipe: Recipe, seed: int) -> SimCLR:
    """Encoder f and projection head g with initial weights drawn on the CPU from ``seed``."""
    # Layers first fill themselves from torch's global generator: leave it as it was.
    with torch.random.fork_rng(devices=[]):
        return _model(recipe, seed)


def _model(recipe: Recipe, seed: int) -> SimCLR:
    group = recipe.batch_norm.group_images
    group_images = None if group == "whole" else group
    encoder: RawPixels | torch.nn.Module
    if recipe.encoder.kind == "raw_pixels":
        encoder = RawPixels(recipe.data.image_size)
    else:
        encoder = resnet(
            recipe.encoder.depth,
            recipe.encoder.width,
            recipe.encoder.stem,
            recipe.encoder.variant,
            channels=recipe.encoder.channels,
            group_images=group_images,
            generator=generator(seed, "encoder"),
        )
        encoder.recompute = recipe.compute.activation_checkpointing
    head: torch.nn.Module
    if recipe.supervised and recipe.trains:
        head = classifier(encoder.feature_dim, DATASET_CLASSES[recipe.data.dataset])
    else:
        head = projection_head(
            encoder.feature_dim,
            recipe.projection.out_dim,
            recipe.projection.depth if recipe.trains else 0,
            group_images=group_images,
            generator=generator(seed, "projection"),
        )
    model = SimCLR(encoder, head).to(DTYPES[recipe.compute.precision])
    if recipe.compute.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model


def build_optimizer(recipe: Recipe, model: torch.nn.Module) -> torch.optim.Optimizer:
    """The optimizer with its two groups: adapted parameters, and norms and biases without decay."""
    settings = recipe.optimizer
    adapted, excluded = parameter_groups(model)
    groups = [
        {"params": adapted, "adapt": True},
        {"params": excluded, "adapt": False, "weight_decay": 0.0},
    ]
    rate, decay = recipe.peak_learning_rate, settings.weight_decay
    match settings.name:
        case "lars":
            return LARS(
                groups,
                rate,
                momentum=settings.momentum,
                weight_decay=decay,
                trust_coefficient=settings.trust_coefficient,
                nesterov=settings.nesterov,
            )
        case "sgd":
            return torch.optim.SGD(
                groups,
                rate,
                momentum=settings.momentum,
                weight_decay=decay,
                nesterov=settings.nesterov and settings.momentum > 0,
            )
        case "adamw":
            return torch.optim.AdamW(groups, rate, weight_decay=decay)


def build_views(recipe: Recipe) -> TwoViews:
    """The two draws of the augmentation family T."""
    settings = recipe.augment
    operators = make_operators(
        semantics=settings.semantics,
        crop=settings.crop,
        brightness=settings.brightness,
        color_strength=settings.color_strength,
        crop_area_min=settings.crop_area_min,
        flip_probability=settings.flip_probability,
        base_flip=settings.base_flip,
        jitter_probability=settings.jitter_probability,
        color_drop_probability=settings.color_drop_probability,
        blur_probability=settings.blur_probability,
        blur_sigma_min=settings.blur_sigma_min,
        blur_sigma_max=settings.blur_sigma_max,
        blur_sigma_scope=settings.blur_sigma_scope,
        cutout_probability=settings.cutout_probability,
        cutout_position=settings.cutout_position,
        noise_probability=settings.noise_probability,
        noise_level_max=settings.noise_level_max,
        noise_law=settings.noise_law,
        sobel_probability=settings.sobel_probability,
        sobel_scaling=settings.sobel_scaling,
        equalize_probability=settings.equalize_probability,
        solarize_probability=settings.solarize_probability,
        solarize_threshold=settings.solarize_threshold,
        motion_blur_probability=settings.motion_blur_probability,
        autoaugment_policy=settings.autoaugment_policy,
    )
    policy = ordered_policy(operators, settings.operators, settings.branches)
    return TwoViews(policy, recipe.data.image_size, dtype=DTYPES[recipe.compute.precision])


def build_loss(recipe: Recipe) -> ViewLoss:
    """The loss of (z_a, z_b, labels), with the recipe's scale applied."""
    settings = recipe.loss
    shared: dict[str, Any] = {"normalize": settings.normalize, "negatives": settings.negatives}
    mined: dict[str, Any] = {
        "semi_hard": settings.semi_hard,
        "reduction": settings.reduction,
        "without_candidate": settings.without_candidate,
    }
    contrastive: Callable[[Tensor, Tensor], Tensor]
    match settings.name:
        case "cross_entropy":
            return cross_entropy
        case "nt_xent":
            contrastive = partial(nt_xent, temperature=settings.temperature, **shared)
        case "nt_logistic":
            contrastive = partial(nt_logistic, temperature=settings.temperature, **mined, **shared)
        case "margin_triplet":
            contrastive = partial(margin_triplet, margin=settings.margin, **mined, **shared)
    factor = 2.0 if settings.scale == "code" else 1.0
    return lambda z_a, z_b, labels: factor * contrastive(z_a, z_b)


def diagnostic_temperature(recipe: Recipe) -> float:
    """Temperature of the contrastive entropy; fixed where the loss itself has none."""
    with_own = recipe.loss.name in ("nt_xent", "nt_logistic")
    return recipe.loss.temperature if with_own else FIXED_TEMPERATURE


def build_measures(recipe: Recipe) -> dict[str, ViewLoss]:
    """What is followed beside the loss: name -> measure of (z_a, z_b, labels)."""
    if recipe.supervised:
        return {"train/top1": views_top1}
    shared: dict[str, Any] = {
        "temperature": diagnostic_temperature(recipe),
        "normalize": recipe.loss.normalize,
    }
    return {
        "train/contrastive_accuracy": lambda z_a, z_b, labels: (
            100 * contrastive_accuracy(z_a, z_b, **shared)
        ),
        "train/contrastive_entropy": lambda z_a, z_b, labels: contrastive_entropy(
            z_a, z_b, **shared
        ),
    }
