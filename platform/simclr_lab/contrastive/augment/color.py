"""Colour distortion: jitter of strength s, and colour drop (App. A, spec 1.4).

x: images as (n, 3, pixels); each parameter has shape (n,).
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.draws import derive, integers, uniform

GRAY = (0.2989, 0.587, 0.114)
Semantics = Literal["tf", "torchvision"]
Brightness = Literal["of_semantics", "additive", "multiplicative"]
MAX_STRENGTH = {"tf": 1.25, "torchvision": 2.5}
"""Above it TensorFlow's factors would begin below zero, and torchvision's hue pass half a turn."""

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
ORDERS = tuple(itertools.permutations(range(4)))
_CHUNK = 64
"""Images at a time, so that intermediate results stay in the processor's cache."""


def adjust_brightness(
    x: Float[Tensor, "n 3 p"], delta: Float[Tensor, " n"]
) -> Float[Tensor, "n 3 p"]:
    """X + delta: additive, as in the first version of the official code."""
    return x + delta[:, None, None]


def adjust_contrast(
    x: Float[Tensor, "n 3 p"], factor: Float[Tensor, " n"]
) -> Float[Tensor, "n 3 p"]:
    """Stretch about each channel's own mean."""
    mean = x.mean(dim=2, keepdim=True)
    return torch.addcmul(mean, x - mean, factor[:, None, None])


def adjust_saturation(
    x: Float[Tensor, "n 3 p"], factor: Float[Tensor, " n"]
) -> Float[Tensor, "n 3 p"]:
    """Multiply S of HSV, clipped to [0, 1]; hue and value stay.

    With V the largest channel, scaling S scales every channel's distance to V.
    """
    value = x.amax(dim=1)
    chroma = value - x.amin(dim=1)
    # S' / S = min(factor, 1 / S), where S = chroma / value; gray pixels have no distance to scale.
    limit = value.clamp(min=0) / chroma.clamp(min=torch.finfo(x.dtype).tiny)
    ratio = torch.minimum(factor[:, None], limit)
    return value[:, None] - (value[:, None] - x) * ratio[:, None]


def adjust_hue(x: Float[Tensor, "n 3 p"], delta: Float[Tensor, " n"]) -> Float[Tensor, "n 3 p"]:
    """Turn H of HSV by ``delta`` of a full turn; saturation and value stay."""
    red, green, blue = x.unbind(dim=1)
    value = x.amax(dim=1)
    chroma = value - x.amin(dim=1)
    sixths = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * chroma, red - green + 4 * chroma),
    )
    hue = sixths / chroma.clamp(min=torch.finfo(x.dtype).tiny) + 6 * delta[:, None]
    # A channel falls below V by chroma * clamp(2 - distance to its own hue), on a circle of six.
    channels = []
    for own in (0.0, 2.0, 4.0):
        distance = 3 - (torch.remainder(hue - own, 6) - 3).abs()
        channels.append(value - chroma * (distance - 1).clamp(0, 1))
    return torch.stack(channels, dim=1)


def to_gray(x: Float[Tensor, "n 3 p"]) -> Float[Tensor, "n 3 p"]:
    """Luminance in all three channels."""
    weights = torch.tensor(GRAY, dtype=x.dtype, device=x.device)
    return torch.einsum("ncp,c->np", x, weights)[:, None].expand(-1, 3, -1)


def scale_brightness(
    x: Float[Tensor, "n 3 p"], factor: Float[Tensor, " n"]
) -> Float[Tensor, "n 3 p"]:
    """X * factor: torchvision's brightness, and the official code's since its second version."""
    return x * factor[:, None, None]


def blend_with_mean(
    x: Float[Tensor, "n 3 p"], factor: Float[Tensor, " n"]
) -> Float[Tensor, "n 3 p"]:
    """Torchvision's contrast: stretch about the mean of the gray image."""
    mean = to_gray(x).mean(dim=(1, 2), keepdim=True)
    return torch.lerp(mean.expand_as(x), x, factor[:, None, None])


def blend_with_gray(
    x: Float[Tensor, "n 3 p"], factor: Float[Tensor, " n"]
) -> Float[Tensor, "n 3 p"]:
    """Torchvision's saturation: stretch about each pixel's gray."""
    return torch.lerp(to_gray(x), x, factor[:, None, None])


JITTERS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    adjust_hue,
)
TORCHVISION_JITTERS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    scale_brightness,
    blend_with_mean,
    blend_with_gray,
    adjust_hue,
)


@dataclass(frozen=True)
class ColorJitter:
    """The four adjustments in an order drawn per image, clipped to [0, 1] after each.

    Ranges at strength s: brightness and the factors of contrast and saturation within 0.8 s, hue
    within 0.2 s of a turn. ``semantics`` ``tf`` adds to brightness, ``torchvision`` multiplies, and
    cuts its factors at zero; ``brightness`` chooses that one operator apart from the others (the
    official code multiplies, among TensorFlow's, since its second version).
    """

    strength: float = 1.0
    probability: float = 0.8
    semantics: Semantics = "tf"
    brightness: Brightness = "of_semantics"

    def __post_init__(self) -> None:
        limit = MAX_STRENGTH[self.semantics]
        if not 0 <= self.strength <= limit:
            raise ValueError(
                f"color_strength is {self.strength}; allowed: 0 to {limit}, beyond which "
                f"the {self.semantics} operators have no range"
            )

    @property
    def multiplies(self) -> bool:
        """Whether brightness is multiplied, or else added to."""
        if self.brightness == "of_semantics":
            return self.semantics == "torchvision"
        return self.brightness == "multiplicative"

    @property
    def jitters(self) -> tuple[Callable[[Tensor, Tensor], Tensor], ...]:
        """The four adjustments: brightness, contrast, saturation, hue."""
        own = JITTERS if self.semantics == "tf" else TORCHVISION_JITTERS
        return (scale_brightness if self.multiplies else adjust_brightness, *own[CONTRAST:])

    def parameters(self, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """(whether, order, amounts of the four ops): shapes (n,), (n,), (4, n); float64, CPU."""
        seeds = derive(draws.seeds, "jitter")
        wanted = uniform(seeds, 0) < self.probability
        order = integers(seeds, 1, len(ORDERS))
        amounts = [self._amount(index, uniform(seeds, 2 + index)) for index in range(4)]
        return wanted, order, torch.stack(amounts)

    def _amount(self, index: int, u: Tensor) -> Tensor:
        """Operator ``index``'s amount from uniform numbers."""
        reach = (0.2 if index == HUE else 0.8) * self.strength
        by_tf = not self.multiplies if index == BRIGHTNESS else self.semantics == "tf"
        if by_tf:
            center = 1.0 if index in (CONTRAST, SATURATION) else 0.0
            return center + reach * (2 * u - 1)
        low, high = (-reach, reach) if index == HUE else (max(0.0, 1 - reach), 1 + reach)
        return low + u * (high - low)

    def __call__(self, images: Float[Tensor, "n 3 h w"], draws: Draws) -> Float[Tensor, "n 3 h w"]:
        """Images of one order are adjusted together, a few at a time."""
        wanted, order, amounts = self.parameters(draws)
        amounts = amounts.to(images)
        jitters = self.jitters
        flat = images.flatten(2)
        out = flat.clone()
        for index, ops in enumerate(ORDERS):
            for part in torch.split(torch.nonzero(wanted & (order == index))[:, 0], _CHUNK):
                where = part.to(images.device)
                x = flat[where]
                for op in ops:
                    x = jitters[op](x, amounts[op, where]).clamp_(0, 1)
                out[where] = x
        return out.view_as(images)


@dataclass(frozen=True)
class ColorDrop:
    """Gray with a probability, drawn apart from the jitter."""

    probability: float = 0.2

    def wanted(self, draws: Draws) -> Bool[Tensor, " n"]:
        """Which images lose their colour."""
        return uniform(derive(draws.seeds, "drop"), 0) < self.probability

    def __call__(self, images: Float[Tensor, "n 3 h w"], draws: Draws) -> Float[Tensor, "n 3 h w"]:
        """Gray the drawn images."""
        where = torch.nonzero(self.wanted(draws))[:, 0].to(images.device)
        out = images.flatten(2).clone()
        out[where] = to_gray(out[where])
        return out.view_as(images)
