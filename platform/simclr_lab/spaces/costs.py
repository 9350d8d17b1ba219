"""What a recipe costs, counted and not measured: the same number on every machine, every time."""

from collections.abc import Callable, Iterator

from simclr_lab.recipe import DATASET_CLASSES, Recipe

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_BACKWARD = 2
"""A backward pass multiplies about twice as often as the forward pass."""

_NORM = 4
"""Scale, shift, mean and variance of a channel."""


def forward_multiplications(recipe: Recipe) -> float:
    """Multiplications of the encoder's convolutions for one image."""
    layers = _convolutions(recipe)
    return float(sum(pixels * fan_in * outputs for pixels, fan_in, outputs in layers))


def pretraining_multiplications(recipe: Recipe) -> float:
    """Multiplications of all of pretraining: two views of every image, forward and backward.

    Batch norm, the loss and augmentation are left out: they are less than a hundredth.
    """
    if not recipe.trains:
        return 0.0
    one = forward_multiplications(recipe) + _head(recipe)
    return one * 2 * recipe.total_steps * recipe.batch_size * (1 + _BACKWARD)


def encoder_numbers(recipe: Recipe) -> int:
    """Numbers in an encoder's state: weights, and four a channel for the norm after each."""
    return sum(outputs * (fan_in + _NORM) for _, fan_in, outputs in _convolutions(recipe))


def head_numbers(recipe: Recipe) -> int:
    """Numbers in the projection head's state."""
    depth, width, out = recipe.projection.depth, _feature_dim(recipe), recipe.projection.out_dim
    if not recipe.trains or not depth:
        return 0
    return (depth - 1) * width * (width + _NORM) + out * (width + _NORM)


COSTS: dict[str, Callable[[Recipe], float]] = {
    "cost/forward_multiplications": forward_multiplications,
    "cost/pretraining_multiplications": pretraining_multiplications,
}
"""Costs that a sweep may weigh against accuracy."""


def _convolutions(recipe: Recipe) -> Iterator[tuple[int, int, int]]:
    """Of each convolution: pixels of its output, weights that one output sees, output channels."""
    encoder = recipe.encoder
    if encoder.kind == "raw_pixels":
        return
    kernel, stride = {"imagenet": (7, 2), "stride2": (3, 2), "cifar": (3, 1)}[encoder.stem]
    bottleneck = encoder.depth >= 50
    planes = encoder.channels * encoder.width
    side = _halved(recipe.data.image_size) if stride == 2 else recipe.data.image_size
    yield side**2, kernel**2 * 3, planes
    side = _halved(side) if encoder.stem == "imagenet" else side  # the pool
    width = planes
    for stage, blocks in enumerate(BLOCKS[encoder.depth]):
        for index in range(blocks):
            before = side
            side = _halved(side) if stage and not index else side
            if bottleneck:
                yield before**2, width, planes
                yield side**2, 9 * planes, planes
                yield side**2, planes, 4 * planes
            else:
                yield side**2, 9 * width, planes
                yield side**2, 9 * planes, planes
            out = planes * (4 if bottleneck else 1)
            if index == 0:  # the projected shortcut
                yield side**2, width, out
            width = out
        planes *= 2


def _head(recipe: Recipe) -> int:
    """Multiplications of the projection head, or of the baseline's classifier, for one image."""
    depth, width = recipe.projection.depth, _feature_dim(recipe)
    if recipe.supervised:
        return width * DATASET_CLASSES[recipe.data.dataset]
    return (depth - 1) * width**2 + width * recipe.projection.out_dim if depth else 0


def _feature_dim(recipe: Recipe) -> int:
    encoder = recipe.encoder
    return encoder.channels * encoder.width * 8 * (4 if encoder.depth >= 50 else 1)


def _halved(side: int) -> int:
    return -(-side // 2)
