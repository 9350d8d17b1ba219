"""Arithmetic of steps and learning rates (spec 6.2, official code's rules); pure Python.

It sits below both the recipe, whose derived properties it serves, and the science, which re-exports
``scaled_learning_rate``.
"""

import math
from typing import Literal

LearningRateRule = Literal["linear", "sqrt", "none"]


def scaled_learning_rate(base: float, batch_size: int, rule: LearningRateRule = "linear") -> float:
    """Peak learning rate for a global batch of ``batch_size`` images (Sec. 2.2 and Table B.1).

    ``linear``: base is per 256 images; ``sqrt``: base is per square root of one image; ``none``:
    base is the peak itself.
    """
    match rule:
        case "linear":
            return base * batch_size / 256
        case "sqrt":
            return base * math.sqrt(batch_size)
        case "none":
            return base
    raise ValueError(f"learning-rate rule is {rule!r}; allowed: 'linear', 'sqrt', 'none'")


def total_steps(images: int, epochs: int, batch_size: int) -> int:
    """Optimizer steps of a run, floor(images * epochs / batch_size) + 1; none for zero epochs."""
    return images * epochs // batch_size + 1 if epochs else 0


def warmup_steps(images: int, warmup_epochs: float, batch_size: int) -> int:
    """Steps of a linear warm-up of ``warmup_epochs`` epochs, floor(epochs * images / batch)."""
    return int(warmup_epochs * images // batch_size)
