"""Contrastive losses of two views' projections: one signature (Table 2)."""

from simclr_lab.contrastive.losses.nt_xent import nt_xent

__all__ = ["nt_xent"]
