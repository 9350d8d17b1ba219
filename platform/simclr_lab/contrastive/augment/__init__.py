"""The family of augmentations T, on whole batches with per-image parameters (App. A)."""

from simclr_lab.contrastive.augment.policy import (
    Policy,
    TwoViews,
    make_operators,
    ordered_policy,
    simclr_policy,
)

__all__ = ["Policy", "TwoViews", "make_operators", "ordered_policy", "simclr_policy"]
