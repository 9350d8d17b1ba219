"""Contrastive losses of two views' projections: one signature (Table 2)."""

from simclr_lab.contrastive.losses.margin_triplet import margin_triplet
from simclr_lab.contrastive.losses.nt_logistic import nt_logistic
from simclr_lab.contrastive.losses.nt_xent import nt_xent

__all__ = ["margin_triplet", "nt_logistic", "nt_xent"]
