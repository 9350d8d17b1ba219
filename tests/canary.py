"""Measures what the canary pins; run it to record the values of a new METHOD_VERSION."""

import json
from pathlib import Path

import torch
from small import pictures, small_recipe
from workers import pretrain

from simclr_lab.identity import METHOD_VERSION
from simclr_lab.recipe import Recipe

RECIPES = {
    "lars": small_recipe(optimizer__warmup=0.0),
    "sgd_no_norm": small_recipe(
        optimizer__name="sgd",
        optimizer__learning_rate=0.01,
        optimizer__warmup=0.0,
        loss__normalize=False,
        loss__temperature=5.0,
        loss__negatives="one_view",
        loss__scale="paper",
    ),
    "adamw_deep_head": small_recipe(
        optimizer__name="adamw",
        optimizer__learning_rate=1e-4,
        optimizer__warmup=0.0,
        projection__depth=4,
    ),
    "groups_blur": small_recipe(
        batch_norm__group_images=4,
        augment__blur_probability=0.5,
        augment__color_strength=1.0,
        optimizer__warmup=0.0,
    ),
    "bottleneck": small_recipe(
        encoder__depth=50, encoder__stem="cifar", projection__depth=0, optimizer__warmup=0.0
    ),
    "blur_32": small_recipe(  # at 16 pixels the kernel of the blur is one pixel wide
        data__image_size=32,
        augment__blur_probability=1.0,
        augment__color_strength=1.0,
        optimizer__warmup=0.0,
    ),
}


def measure(recipe: Recipe) -> dict[str, float]:
    """Loss of each step, and norm, change and a fixed random projection of the weights.

    In float64, so that no processor's rounding reaches the fifth digit.
    """
    recipe = recipe.with_fields({"compute.precision": "float64"})
    run = pretrain(recipe, 11, pictures(size=recipe.data.image_size), 3)
    weights = run["weights"]
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(len(weights), generator=generator, dtype=torch.float64)
    losses = {f"loss_{step}": float(done[0]) for step, done in enumerate(run["losses"])}
    return losses | {
        "weight_norm": float(weights.norm()),
        "weight_change": float((weights - run["before"]).norm()),
        "weight_projection": float(weights @ direction),
        "running_statistics": float(run["buffers"].norm()),
    }


if __name__ == "__main__":
    values = {name: measure(recipe) for name, recipe in RECIPES.items()}
    path = Path(__file__).parent / "training" / "canary.json"
    path.write_text(
        json.dumps({"method_version": METHOD_VERSION, "values": values}, indent=2) + "\n"
    )
    print(path)
