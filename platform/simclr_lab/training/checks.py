"""Looks at a model on fixed validation images: geometry, Table 5's columns, and collapse."""

from dataclasses import dataclass

import torch
from torch import Tensor

from simclr_lab.contrastive.diagnostics import (
    alignment,
    contrastive_accuracy,
    contrastive_entropy,
    effective_rank,
    feature_std,
    uniformity,
)
from simclr_lab.contrastive.draws import image_seeds
from simclr_lab.contrastive.model import SimCLR
from simclr_lab.recipe import Recipe
from simclr_lab.training.build import build_views, diagnostic_temperature

CHECK_IMAGES = 4096
"""Images of Table 5's contrastive distribution; entropy and accuracy depend on their number."""

EPOCH_IMAGES = 512
"""Images on which the geometry of h and z is followed from epoch to epoch."""

CHECK_SEED = 0
"""Cells of one augmentation policy see the same views: they differ by their encoder alone."""

_CHUNK = 512
COLLAPSED_STD = 0.01
"""Spread of unit-length h, relative to the uniform sphere's, below which it is one point."""


@dataclass(frozen=True)
class Embedded:
    """Two fixed views of fixed images: h of the first, z of both, float32."""

    h: Tensor
    z_a: Tensor
    z_b: Tensor

    @property
    def finite(self) -> bool:
        """Whether all of it are numbers."""
        return all(bool(torch.isfinite(each).all()) for each in (self.h, self.z_a, self.z_b))


@torch.no_grad()
def embed(recipe: Recipe, model: SimCLR, images: Tensor) -> Embedded:
    """Embed uint8 (n, 3, h, w) images in evaluation mode; the model's mode is restored."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    views = build_views(recipe)
    positions = torch.arange(len(images))
    seeds = image_seeds(CHECK_SEED, "check", torch.zeros_like(positions), positions)
    parts = []
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        pair = views(images[part].to(device), seeds[part], CHECK_SEED)
        with torch.autocast(
            device.type, torch.bfloat16, enabled=recipe.compute.precision == "bfloat16"
        ):
            h, z = model(torch.cat(pair))
        parts.append((h.chunk(2)[0].float(), *(side.float() for side in z.chunk(2))))
    model.train(was_training)
    h, z_a, z_b = (torch.cat(each) for each in zip(*parts, strict=True))
    return Embedded(h, z_a, z_b)


def epoch_diagnostics(recipe: Recipe, model: SimCLR, images: Tensor) -> dict[str, float] | None:
    """Geometry of h and z on the first ``EPOCH_IMAGES`` validation images.

    ``val/feature_std`` is relative to the even spread of a sphere's points, 1. None where h or z
    are not finite.
    """
    embedded = embed(recipe, model, images[:EPOCH_IMAGES])
    if not embedded.finite:
        return None
    h, z_a, z_b = embedded.h, embedded.z_a, embedded.z_b
    return {
        "val/alignment": float(alignment(z_a, z_b)),
        "val/uniformity": float(uniformity(z_a)),
        "val/effective_rank_h": float(effective_rank(h)),
        "val/effective_rank_z": float(effective_rank(z_a)),
        "val/feature_std": float(feature_std(h)) * h.shape[1] ** 0.5,
    }


def final_checks(recipe: Recipe, model: SimCLR, images: Tensor) -> tuple[dict[str, float], bool]:
    """Contrastive accuracy (percent) and entropy (nats) in eval mode, and whether h collapsed.

    Args:
        recipe: the settings that ``model`` was trained with.
        model: encoder and head; its mode is restored.
        images: uint8 (n, 3, h, w) validation images; the first ``CHECK_IMAGES`` are used.
    """
    embedded = embed(recipe, model, images[:CHECK_IMAGES])
    pair = embedded.z_a, embedded.z_b
    temperature, normalize = diagnostic_temperature(recipe), recipe.loss.normalize
    accuracy = contrastive_accuracy(*pair, temperature=temperature, normalize=normalize)
    entropy = contrastive_entropy(*pair, temperature=temperature, normalize=normalize)
    metrics = {
        "val/contrastive_accuracy": 100 * float(accuracy),
        "val/contrastive_entropy": float(entropy),
    }
    spread = float(feature_std(embedded.h)) * embedded.h.shape[1] ** 0.5
    return metrics, spread < COLLAPSED_STD
