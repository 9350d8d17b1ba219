"""Which transformation was applied? Read from h and from z = g(h) by a small network (Table 3).

The paper publishes neither the probe's size nor its training; ours is one hidden layer on
standardised features, trained with Adam and stopped early on a tenth of the fitted images. The
question is the same for every encoder, however it was pretrained.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int64, UInt8
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import Tensor

from simclr_lab.contrastive.augment.color import ColorDrop, ColorJitter
from simclr_lab.contrastive.augment.crop import CropResizeFlip
from simclr_lab.contrastive.augment.noise import GaussianNoise
from simclr_lab.contrastive.augment.operator import Draws, Operator
from simclr_lab.contrastive.augment.rotate import Rotate
from simclr_lab.contrastive.augment.sobel import Sobel
from simclr_lab.contrastive.draws import image_seeds
from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.measured import Measured
from simclr_lab.evaluation.standardize import standardizer

MAX_FIT_IMAGES = 10_000
_CHUNK = 1000
_DROP, _ROTATE, _NOISE, _SOBEL = ColorDrop(0.2), Rotate(), GaussianNoise(0.5), Sobel(0.5)


@dataclass(frozen=True)
class ProbeSettings:
    """``strength`` of the colour jitter under what is asked about; the network and its training."""

    strength: float = 1.0
    hidden_units: int = 256
    iterations: int = 60


@dataclass(frozen=True)
class Probe:
    """Operators behind crop and jitter, in order, and the question about what they drew.

    ``chance`` is what guessing the most frequent answer scores, in percent.
    """

    operators: tuple[Operator, ...]
    answer: Callable[[Draws], Tensor]
    chance: float


PROBES = {
    "probe_color": Probe((_DROP,), _DROP.wanted, 80.0),
    "probe_rotation": Probe((_DROP, _ROTATE), _ROTATE.quarters, 25.0),
    "probe_noise": Probe((_DROP, _NOISE), lambda d: _NOISE.levels(d) > 0, 50.0),
    "probe_sobel": Probe((_DROP, _SOBEL), _SOBEL.wanted, 50.0),
}
"""Table 3's rows: each is added to crop and colour, one at a time."""


def transformed(
    probe: Probe,
    images: UInt8[Tensor, "n 3 h w"],
    purpose: str,
    *,
    size: int | None = None,
    strength: float = 1.0,
) -> tuple[Float[Tensor, "n 3 s s"], Int64[Tensor, " n"]]:
    """Images in [0, 1] after crop, jitter and the probe's operators, and what these drew.

    The same at every call. ``size`` is the side of the result; None keeps the images' own.
    """
    before: tuple[Operator, ...] = (CropResizeFlip(), ColorJitter(strength))
    positions = torch.arange(len(images))
    seeds = image_seeds(0, purpose, torch.zeros_like(positions), positions)
    parts, answers = [], []
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        pixels = images[part].float() / 255
        draws = Draws(seeds[part], None, size or images.shape[2])
        for operator in (*before, *probe.operators):
            pixels = operator(pixels, draws)
        parts.append(pixels.clamp(0, 1))
        answers.append(probe.answer(draws).long())
    return torch.cat(parts), torch.cat(answers)


def transform_probe(
    name: str,
    frozen: Frozen,
    fit: UInt8[Tensor, "n 3 h w"],
    val: UInt8[Tensor, "m 3 h w"],
    settings: ProbeSettings,
) -> Measured:
    """Validation accuracies in percent of the answer read from h and from z, and of guessing."""
    probe = PROBES[name]
    draw = partial(transformed, probe, size=frozen.size, strength=settings.strength)
    fit_images, fit_answers = draw(fit[:MAX_FIT_IMAGES], f"{name} fit")
    val_images, val_answers = draw(val, f"{name} val")
    metrics = {"chance": probe.chance}
    for place, features in (("h", frozen.h), ("z", frozen.z)):
        fitted, judged = features(fit_images), features(val_images)
        scale = standardizer(fitted)
        metrics[f"{place}_val_top1"] = 100 * _accuracy(
            (scale(fitted), fit_answers), (scale(judged), val_answers), settings
        )
    return Measured(metrics)


def _accuracy(
    fit: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], settings: ProbeSettings
) -> float:
    network = MLPClassifier(
        (settings.hidden_units,),
        early_stopping=True,
        max_iter=settings.iterations,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(fit[0].numpy(), fit[1].numpy())
    return float(network.score(val[0].numpy(), val[1].numpy()))
