"""The family of augmentations T, on whole batches with per-image parameters (App. A)."""

from simclr_lab.contrastive.augment.policy import Policy, TwoViews, simclr_policy

__all__ = ["Policy", "TwoViews", "simclr_policy"]
