"""Policies: which operators in which order, per branch; two views of every image (Sec. 2.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from simclr_lab.contrastive.augment import crop as crop_tf
from simclr_lab.contrastive.augment import crop_torchvision
from simclr_lab.contrastive.augment.autoaugment import AutoAugment, LearnedOn
from simclr_lab.contrastive.augment.blur import GaussianBlur, SigmaScope
from simclr_lab.contrastive.augment.broader import Equalize, MotionBlur, Solarize
from simclr_lab.contrastive.augment.color import Brightness, ColorDrop, ColorJitter, Semantics
from simclr_lab.contrastive.augment.crop import CropResizeFlip, ResizeWhole
from simclr_lab.contrastive.augment.cutout import Cutout, Position
from simclr_lab.contrastive.augment.noise import GaussianNoise, Law
from simclr_lab.contrastive.augment.operator import Draws, Operator
from simclr_lab.contrastive.augment.rotate import Rotate
from simclr_lab.contrastive.augment.sobel import Scaling, Sobel
from simclr_lab.contrastive.draws import derive

OperatorName = Literal[
    "base",
    "resize",
    "crop",
    "color",
    "blur",
    "rotate",
    "cutout",
    "noise",
    "sobel",
    "equalize",
    "solarize",
    "motion_blur",
    "autoaugment",
]
Branches = Literal["both", "second"]
Crop = Literal["of_semantics", "tf", "torchvision"]

CROPS = {"tf": crop_tf, "torchvision": crop_torchvision}
"""Whose sampler and whose resize."""

SIMCLR_ORDER: tuple[OperatorName, ...] = ("crop", "color", "blur")
"""The paper's policy (App. A)."""


@dataclass(frozen=True)
class Policy:
    """Operators of the first and of the second view, each applied in order.

    ``base`` is drawn once per image and applied before both branches.
    """

    branch_a: tuple[Operator, ...]
    branch_b: tuple[Operator, ...]
    base: tuple[Operator, ...] = ()


def make_operators(
    *,
    semantics: Semantics = "tf",
    crop: Crop = "of_semantics",
    brightness: Brightness = "of_semantics",
    color_strength: float = 1.0,
    crop_area_min: float = 0.08,
    flip_probability: float = 0.5,
    base_flip: bool = True,
    jitter_probability: float = 0.8,
    color_drop_probability: float = 0.2,
    blur_probability: float = 0.5,
    blur_sigma_min: float = 0.1,
    blur_sigma_max: float = 2.0,
    blur_sigma_scope: SigmaScope = "batch",
    cutout_probability: float = 1.0,
    cutout_position: Position = "inside",
    noise_probability: float = 1.0,
    noise_level_max: float = 0.2,
    noise_law: Law = "uniform",
    sobel_probability: float = 1.0,
    sobel_scaling: Scaling = "min_max",
    equalize_probability: float = 0.2,
    solarize_probability: float = 0.2,
    solarize_threshold: float = 0.5,
    motion_blur_probability: float = 0.2,
    autoaugment_policy: LearnedOn = "imagenet",
) -> dict[OperatorName, tuple[Operator, ...]]:
    """Every named step of a policy; ``color`` is jitter and then colour drop (Fig. 4, Fig. 5).

    ``semantics`` says whose operators: the official code's TensorFlow ones or torchvision's, which
    crop, resize, adjust and pad differently; ``crop`` and ``brightness`` choose these two apart.
    ``base`` is Fig. 5's shared crop, also mirrored or not. Operators of probability zero are left
    out. Raises ValueError for a colour strength that the operators do not have.
    """
    jitter = ColorJitter(color_strength, jitter_probability, semantics, brightness)
    drop = (ColorDrop(color_drop_probability),) if color_drop_probability > 0 else ()
    sigma = blur_sigma_min, blur_sigma_max, blur_sigma_scope
    blur = GaussianBlur(blur_probability, *sigma, "zeros" if semantics == "tf" else "reflect")
    module = CROPS[semantics if crop == "of_semantics" else crop]
    cropped = CropResizeFlip(
        crop_area_min, flip_probability, module.draw_boxes, module.resize_weights
    )
    return {
        "base": (cropped if base_flip else replace(cropped, flip_probability=0.0),),
        "resize": (ResizeWhole(module.resize_weights),),
        "crop": (cropped,),
        "color": (*((jitter,) if jitter_probability > 0 else ()), *drop),
        "blur": (blur,) if blur_probability > 0 else (),
        "rotate": (Rotate(),),
        "cutout": (Cutout(cutout_probability, cutout_position),),
        "noise": (GaussianNoise(noise_probability, noise_level_max, noise_law),),
        "sobel": (Sobel(sobel_probability, sobel_scaling),),
        "equalize": (Equalize(equalize_probability),),
        "solarize": (Solarize(solarize_probability, solarize_threshold),),
        "motion_blur": (MotionBlur(motion_blur_probability),),
        "autoaugment": (AutoAugment(autoaugment_policy),),
    }


def ordered_policy(
    operators: Mapping[OperatorName, tuple[Operator, ...]],
    order: Sequence[OperatorName],
    branches: Branches = "both",
) -> Policy:
    """The named steps in order, on both views or on the second alone.

    ``second`` is the protocol of Fig. 5: both views start from one shared crop, and the first stays
    as it is. On both views without a crop, whole images are resized.
    """
    chosen = tuple(operator for name in order for operator in operators[name])
    if branches == "second":
        return Policy((), chosen, base=operators["base"])
    whole = () if "crop" in order else operators["resize"]
    return Policy((*whole, *chosen), (*whole, *chosen))


def simclr_policy(**settings: Any) -> Policy:
    """The paper's policy, the same for both branches (App. A, spec 1.1); see ``make_operators``."""
    return ordered_policy(make_operators(**settings), SIMCLR_ORDER)


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
        if self.policy.base:
            draws = Draws(derive(seeds, "base"), None, self.size)
            for operator in self.policy.base:
                pixels = operator(pixels, draws)
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
