"""Small recipes and pictures that take seconds, for tests of training."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from simclr_lab.data.sources import Dataset
from simclr_lab.recipe import Recipe

SMALL = {
    "batch_size": 16,
    "epochs": 3,
    "data.pretrain_images": 48,
    "data.image_size": 16,
    "augment.color_strength": 0.5,
    "augment.blur_probability": 0.0,
    "encoder.depth": 18,
    "encoder.channels": 8,
    "encoder.stem": "stride2",
    "projection.out_dim": 16,
    "loss.temperature": 0.1,
    "optimizer.learning_rate": 0.075,
    "optimizer.learning_rate_rule": "sqrt",
    "optimizer.warmup": 0.1,
    "optimizer.warmup_unit": "fraction",
    "evaluation.fit_images": 200,
}


def small_recipe(**changes: Any) -> Recipe:
    """A recipe of seconds that depends on no named scale; double underscores stand for dots."""
    return Recipe().with_fields(
        SMALL | {name.replace("__", "."): value for name, value in changes.items()}
    )


def pictures(n: int = 48, size: int = 16, seed: int = 0) -> Tensor:
    """Smooth random colour pictures, uint8 (n, 3, size, size)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return (255 * fine).to(torch.uint8)


def small_dataset(size: int = 16) -> Dataset:
    """As many rows as CIFAR-10 (the splits need them), each class with its own colour."""
    generator = np.random.default_rng(0)

    def split(n: int) -> tuple[Any, Any]:
        labels = np.arange(n) % 10
        base = pictures(200, size).numpy()[generator.integers(0, 200, n)]
        tint = np.zeros((n, 3, 1, 1), np.uint8)
        tint[np.arange(n), labels % 3, 0, 0] = 8 * labels
        return (base // 2 + tint).astype(np.uint8), labels.astype(np.int64)

    train, test = split(50_000), split(10_000)
    classes = tuple(str(i) for i in range(10))
    return Dataset("cifar10", *train, *test, classes, "0" * 64)
