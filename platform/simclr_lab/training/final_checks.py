"""Two looks at a finished model on fixed validation images: Table 5's columns, and collapse."""

import torch
from torch import Tensor

from simclr_lab.contrastive.diagnostics import (
    contrastive_accuracy,
    contrastive_entropy,
    feature_std,
)
from simclr_lab.contrastive.draws import image_seeds
from simclr_lab.contrastive.model import SimCLR
from simclr_lab.recipe import Recipe
from simclr_lab.training.build import build_views, diagnostic_temperature

CHECK_IMAGES = 4096
"""Images of Table 5's contrastive distribution; entropy and accuracy depend on their number."""

CHECK_SEED = 0
"""The views are the same for every cell, so that cells differ by their encoder alone."""

_CHUNK = 512
COLLAPSED_STD = 0.01
"""Spread of unit-length h, relative to the uniform sphere's, below which it is one point."""


@torch.no_grad()
def final_checks(recipe: Recipe, model: SimCLR, images: Tensor) -> tuple[dict[str, float], bool]:
    """Contrastive accuracy (percent) and entropy (nats) in eval mode, and whether h collapsed.

    Args:
        recipe: the settings that ``model`` was trained with.
        model: encoder and head; its mode is restored.
        images: uint8 (n, 3, h, w) validation images; the first ``CHECK_IMAGES`` are used.
    """
    images = images[:CHECK_IMAGES]
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    views = build_views(recipe)
    positions = torch.arange(len(images))
    seeds = image_seeds(CHECK_SEED, "check", torch.zeros_like(positions), positions)
    h_parts, a_parts, b_parts = [], [], []
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        pair = views(images[part].to(device), seeds[part], CHECK_SEED)
        with torch.autocast(
            device.type, torch.bfloat16, enabled=recipe.compute.precision == "bfloat16"
        ):
            h, z = model(torch.cat(pair))
        z_a, z_b = z.chunk(2)
        h_parts.append(h.chunk(2)[0].float())
        a_parts.append(z_a.float())
        b_parts.append(z_b.float())
    model.train(was_training)
    h, z_a, z_b = torch.cat(h_parts), torch.cat(a_parts), torch.cat(b_parts)
    temperature, normalize = diagnostic_temperature(recipe), recipe.loss.normalize
    accuracy = contrastive_accuracy(z_a, z_b, temperature=temperature, normalize=normalize)
    entropy = contrastive_entropy(z_a, z_b, temperature=temperature, normalize=normalize)
    metrics = {
        "val/contrastive_accuracy": 100 * float(accuracy),
        "val/contrastive_entropy": float(entropy),
        "val/feature_std": float(feature_std(h)) * h.shape[1] ** 0.5,
    }
    return metrics, metrics["val/feature_std"] < COLLAPSED_STD
