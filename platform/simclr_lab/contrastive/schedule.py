"""Learning rate over a run: linear warm-up, then cosine decay to zero (Sec. 2.2, spec 6.2)."""

import math
from typing import Literal

from simclr_lab.steps import scaled_learning_rate

__all__ = ["learning_rate_at", "scaled_learning_rate"]


def learning_rate_at(
    step: int,
    *,
    peak: float,
    warmup_steps: int,
    total_steps: int,
    schedule: Literal["cosine", "constant"] = "cosine",
) -> float:
    """Learning rate of step ``step``, counted from 0; step 0 of a warm-up has rate 0.

    Args:
        step: optimizer steps done before this one.
        peak: rate at the end of the warm-up.
        warmup_steps: length of the linear ramp.
        total_steps: steps of the whole run.
        schedule: what follows the ramp.
    """
    if step < warmup_steps:
        return peak * step / warmup_steps
    if schedule == "constant":
        return peak
    length = total_steps - warmup_steps
    done = min(step - warmup_steps, length) / length
    return peak * 0.5 * (1 + math.cos(math.pi * done))
