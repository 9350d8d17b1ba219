"""AutoAugment's fourteen transforms on 8-bit images, all of one batch alike (Cubuk et al. 2019).

They are torchvision's functions with its defaults: the nearest pixel, black from outside.
"""

import math
from collections.abc import Callable

from jaxtyping import UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as torchvision


def _shear(levels: Tensor, across: float = 0.0, down: float = 0.0) -> Tensor:
    """Move rows left by ``across`` pixels per row, columns up by ``down`` pixels per column."""
    angles = [math.degrees(math.atan(across)), math.degrees(math.atan(down))]
    moved: Tensor = torchvision.affine(
        levels, angle=0.0, translate=[0, 0], scale=1.0, shear=angles, center=[0, 0]
    )
    return moved


def _translate(levels: Tensor, across: float = 0.0, down: float = 0.0) -> Tensor:
    """Move right and down by whole pixels; fractions are dropped."""
    pixels = [int(across), int(down)]
    moved: Tensor = torchvision.affine(
        levels, angle=0.0, translate=pixels, scale=1.0, shear=[0.0, 0.0]
    )
    return moved


TRANSFORMS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "ShearX": lambda levels, slope: _shear(levels, across=slope),
    "ShearY": lambda levels, slope: _shear(levels, down=slope),
    "TranslateX": lambda levels, pixels: _translate(levels, across=pixels),
    "TranslateY": lambda levels, pixels: _translate(levels, down=pixels),
    "Rotate": lambda levels, degrees: torchvision.rotate(levels, degrees),
    "Brightness": lambda levels, more: torchvision.adjust_brightness(levels, 1 + more),
    "Color": lambda levels, more: torchvision.adjust_saturation(levels, 1 + more),
    "Contrast": lambda levels, more: torchvision.adjust_contrast(levels, 1 + more),
    "Sharpness": lambda levels, more: torchvision.adjust_sharpness(levels, 1 + more),
    "Posterize": lambda levels, bits: torchvision.posterize(levels, int(bits)),
    "Solarize": lambda levels, threshold: torchvision.solarize(levels, threshold),
    "AutoContrast": lambda levels, _: torchvision.autocontrast(levels),
    "Equalize": lambda levels, _: torchvision.equalize(levels),
    "Invert": lambda levels, _: torchvision.invert(levels),
}


def transform(
    levels: UInt8[Tensor, "n 3 h w"], name: str, magnitude: float
) -> UInt8[Tensor, "n 3 h w"]:
    """Every image by one transform at one magnitude, in the transform's own unit and with a sign.

    Each image's result is its own: means, extremes and histograms are taken per image.
    """
    return TRANSFORMS[name](levels, magnitude)
