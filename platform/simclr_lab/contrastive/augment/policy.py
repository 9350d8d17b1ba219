"""Policies: which operators in which order, per branch; two views of every image (Sec. 2.1)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from simclr_lab.contrastive.augment.blur import GaussianBlur, SigmaScope
from simclr_lab.contrastive.augment.color import ColorDrop, ColorJitter
from simclr_lab.contrastive.augment.crop import CropResizeFlip
from simclr_lab.contrastive.augment.operator import Draws, Operator
from simclr_lab.contrastive.draws import derive


@dataclass(frozen=True)
class Policy:
    """Operators of the first and of the second view, each applied in order."""

    branch_a: tuple[Operator, ...]
    branch_b: tuple[Operator, ...]


def simclr_policy(
    *,
    color_strength: float = 1.0,
    crop_area_min: float = 0.08,
    flip_probability: float = 0.5,
    jitter_probability: float = 0.8,
    color_drop_probability: float = 0.2,
    blur_probability: float = 0.5,
    blur_sigma_min: float = 0.1,
    blur_sigma_max: float = 2.0,
    blur_sigma_scope: SigmaScope = "batch",
) -> Policy:
    """The paper's policy, the same for both branches (App. A, spec 1.1).

    Operators of probability zero are left out. Raises ValueError for a colour strength that the
    operators do not have.
    """
    operators: list[Operator] = [CropResizeFlip(crop_area_min, flip_probability)]
    if jitter_probability > 0:
        operators.append(ColorJitter(color_strength, jitter_probability))
    if color_drop_probability > 0:
        operators.append(ColorDrop(color_drop_probability))
    if blur_probability > 0:
        operators.append(
            GaussianBlur(blur_probability, blur_sigma_min, blur_sigma_max, blur_sigma_scope)
        )
    return Policy(tuple(operators), tuple(operators))


@dataclass(frozen=True)
class TwoViews:
    """Two independent draws of a policy from every image.

    Args:
        policy: the operators.
        size: side of the views in pixels.
        dtype: float type of the views.
    """

    policy: Policy
    size: int
    dtype: torch.dtype = torch.float32

    def __call__(
        self,
        images: UInt8[Tensor, "n 3 h w"],
        seeds: Int64[Tensor, " n"],
        batch_seed: int | None = None,
    ) -> tuple[Float[Tensor, "n 3 s s"], Float[Tensor, "n 3 s s"]]:
        """(view a, view b) in [0, 1], on the images' device.

        Each image's views depend on its pixels and its seed alone, and on ``batch_seed``, which the
        whole global batch shares (one blur sigma for all, say).
        """
        pixels = images.to(self.dtype) / 255
        a, b = (
            self._view(pixels, derive(seeds, view), operators, batch_seed, view)
            for view, operators in enumerate((self.policy.branch_a, self.policy.branch_b))
        )
        return a, b

    def _view(
        self,
        pixels: Tensor,
        seeds: Tensor,
        operators: tuple[Operator, ...],
        batch_seed: int | None,
        view: int,
    ) -> Tensor:
        if batch_seed is not None:
            batch_seed = int(derive(torch.tensor([batch_seed]), view))
        draws = Draws(seeds, batch_seed, self.size)
        for operator in operators:
            pixels = operator(pixels, draws)
        return pixels.clamp(0, 1)
