"""AutoAugment: a policy that was searched for with labels (Cubuk et al. 2019; Table 1).

A policy holds 25 sub-policies of two transforms each, with a probability and a magnitude. The
tables are torchvision's.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from torch import Tensor
from torchvision.transforms import autoaugment as tables

from simclr_lab.contrastive.augment.autoaugment_transforms import TRANSFORMS, transform
from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, integers, uniform

LearnedOn = Literal["imagenet", "cifar10", "svhn"]

NAMES = tuple(TRANSFORMS)
MAGNITUDES = 10
"""Magnitudes of each transform, evenly spaced from none to its largest."""

UNCHANGED = -1


@dataclass(frozen=True)
class SubPolicies:
    """A policy for images of one size: row s, column t is transform t of sub-policy s."""

    transforms: Int64[Tensor, "s 2"]  # places in NAMES
    probabilities: Float64[Tensor, "s 2"]
    magnitudes: Float64[Tensor, "s 2"]  # in the transform's own unit
    signed: Bool[Tensor, "s 2"]


@dataclass(frozen=True)
class Chosen:
    """What is done to each image, first column 0 and then column 1."""

    transforms: Int64[Tensor, "n 2"]  # places in NAMES, or UNCHANGED
    magnitudes: Float64[Tensor, "n 2"]


@cache
def sub_policies(learned_on: LearnedOn, height: int, width: int) -> SubPolicies:
    """The table of a policy; translations grow with the image, all else does not."""
    source = tables.AutoAugment(tables.AutoAugmentPolicy(learned_on))
    space = source._augmentation_space(MAGNITUDES, (height, width))
    rows = source.policies
    return SubPolicies(
        torch.tensor([[NAMES.index(name) for name, _, _ in row] for row in rows]),
        torch.tensor([[chance for _, chance, _ in row] for row in rows], dtype=torch.float64),
        torch.tensor(
            [
                [0.0 if level is None else float(space[name][0][level]) for name, _, level in row]
                for row in rows
            ],
            dtype=torch.float64,
        ),
        torch.tensor([[space[name][1] for name, _, _ in row] for row in rows]),
    )


def apply(
    levels: UInt8[Tensor, "n 3 h w"],
    transforms: Int64[Tensor, " n"],
    magnitudes: Float64[Tensor, " n"],
) -> UInt8[Tensor, "n 3 h w"]:
    """Each image by its own transform, those that share transform and magnitude at once."""
    groups, group = torch.unique(
        torch.stack([transforms.double(), magnitudes], dim=1), dim=0, return_inverse=True
    )
    out = levels.clone()
    for index, (number, magnitude) in enumerate(groups.tolist()):
        if number != UNCHANGED:
            where = torch.nonzero(group == index)[:, 0].to(levels.device)
            out[where] = transform(levels[where], NAMES[int(number)], magnitude)
    return out


@dataclass(frozen=True)
class AutoAugment:
    """One sub-policy per image, uniformly; each of its transforms with its own probability.

    Magnitudes that have a sign get either one half of the time. Images are rounded to the 256
    levels that the transforms are defined on, changed or not.
    """

    policy: LearnedOn = "imagenet"

    def choose(self, draws: Draws, height: int, width: int) -> Chosen:
        """What each image's seed makes of the policy."""
        seeds = derive(draws.seeds, "autoaugment")
        table = sub_policies(self.policy, height, width)
        row = integers(seeds, 0, len(table.transforms))
        chance = torch.stack([uniform(seeds, 1), uniform(seeds, 2)], dim=1)
        negative = torch.stack([integers(seeds, 3, 2), integers(seeds, 4, 2)], dim=1) == 0
        wanted = chance < table.probabilities[row]
        magnitudes = table.magnitudes[row]
        return Chosen(
            torch.where(wanted, table.transforms[row], UNCHANGED),
            torch.where(negative & table.signed[row], -magnitudes, magnitudes),
        )

    def __call__(self, images: Float[Tensor, "n 3 h w"], draws: Draws) -> Float[Tensor, "n 3 h w"]:
        """Transform each image by its sub-policy."""
        levels = (images.clamp(0, 1) * 255).round().to(torch.uint8)
        chosen = self.choose(draws, *images.shape[2:])
        for step in range(2):
            levels = apply(levels, chosen.transforms[:, step], chosen.magnitudes[:, step])
        return levels.to(images.dtype) / 255
