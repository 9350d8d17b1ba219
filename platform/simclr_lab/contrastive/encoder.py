"""Encoders f: ResNets as in the official code (Sec. 2.1, App. B.9, spec 5), and raw pixels."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from simclr_lab.contrastive.batch_norm import GroupBatchNorm
from simclr_lab.contrastive.recompute import recomputed

Stem = Literal["imagenet", "cifar", "stride2"]
Variant = Literal["paper", "torchvision"]

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_FROM = 50
EXPANSION = 4
_TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a unit normal cut at two."""


class _Conv(nn.Conv2d):
    """A convolution without bias; (k-1)//2 rows of zeros on every side."""

    def __init__(self, in_channels: int, out_channels: int, size: int, stride: int = 1) -> None:
        super().__init__(
            in_channels, out_channels, size, stride, padding=(size - 1) // 2, bias=False
        )


class _Block(nn.Module):
    """A residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1 for the deep networks."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        *,
        bottleneck: bool,
        shortcut: bool,
        norm: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        out_channels = channels * (EXPANSION if bottleneck else 1)
        if bottleneck:
            self.conv1 = _Conv(in_channels, channels, 1)
            self.conv2 = _Conv(channels, channels, 3, stride)
            self.conv3 = _Conv(channels, out_channels, 1)
        else:
            self.conv1 = _Conv(in_channels, channels, 3, stride)
            self.conv2 = _Conv(channels, channels, 3)
        self.bn1, self.bn2 = norm(channels), norm(channels)
        self.bn3 = norm(out_channels) if bottleneck else None
        self.downsample = (
            nn.Sequential(_Conv(in_channels, out_channels, 1, stride), norm(out_channels))
            if shortcut
            else None
        )

    @property
    def last_scale(self) -> nn.Parameter:
        """The scale that starts at zero, so that a block starts as its shortcut."""
        scale = (self.bn3 or self.bn2).weight
        assert isinstance(scale, nn.Parameter)
        return scale

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.bn3 is not None:
            y = self.bn3(self.conv3(functional.relu(y)))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Stem, four stages of blocks, global average pool: images -> h of width ``feature_dim``.

    Modules carry torchvision's names. With ``recompute`` a training forward keeps only what goes
    into the stem and into each block; the backward computes the rest again.
    """

    def __init__(
        self,
        depth: int,
        channels: int,
        stem: Stem,
        variant: Variant,
        norm: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        bottleneck = depth >= BOTTLENECK_FROM
        self.stem, self.variant = stem, variant
        self.recompute = False
        size, stride = (7, 2) if stem == "imagenet" else (3, 2 if stem == "stride2" else 1)
        self.conv1 = _Conv(3, channels, size, stride)
        self.bn1 = norm(channels)
        width = channels
        for stage, blocks in enumerate(BLOCKS[depth]):
            planes = channels * 2**stage
            layers = []
            for index in range(blocks):
                block_stride = 2 if stage > 0 and index == 0 else 1
                out_width = planes * (EXPANSION if bottleneck else 1)
                changes = block_stride != 1 or width != out_width
                layers.append(
                    _Block(
                        width,
                        planes,
                        block_stride,
                        bottleneck=bottleneck,
                        shortcut=changes or (variant == "paper" and index == 0),
                        norm=norm,
                    )
                )
                width = out_width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.feature_dim = width

    def forward(self, images: Float[Tensor, "m 3 height width"]) -> Float[Tensor, "m d"]:
        """Representations h of the images."""
        keep_less = self.recompute and self.training and torch.is_grad_enabled()
        x = recomputed(self._stem, self.bn1, images) if keep_less else self._stem(images)
        for stage in (self.get_submodule(f"layer{n}") for n in range(1, 5)):
            if not keep_less:
                x = stage(x)
                continue
            for block in stage.children():
                x = recomputed(block, block, x)
        return x.mean(dim=(2, 3))

    def _stem(self, images: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(images)))
        return self._pool(x) if self.stem == "imagenet" else x

    def _pool(self, x: Tensor) -> Tensor:
        """3x3 max pool of stride 2; TensorFlow's SAME pads below and right first."""
        if self.variant == "torchvision":
            return functional.max_pool2d(x, 3, 2, 1)
        pads = [max((math.ceil(n / 2) - 1) * 2 + 3 - n, 0) for n in (x.shape[3], x.shape[2])]
        sides = [side for pad in pads for side in (pad // 2, pad - pad // 2)]
        return functional.max_pool2d(functional.pad(x, sides, value=-torch.inf), 3, 2)


def resnet(
    depth: int,
    width: int = 1,
    stem: Stem = "imagenet",
    variant: Variant = "paper",
    *,
    channels: int = 64,
    group_images: int | None = None,
    generator: torch.Generator | None = None,
) -> ResNet:
    """A ResNet with the official initial weights, drawn on the CPU from ``generator``.

    Args:
        depth: 18, 34, 50, 101 or 152 layers.
        width: multiple of every convolution's channels, the stem's too.
        stem: ``imagenet`` 7x7 of stride 2 and a pool; ``cifar`` 3x3 of stride 1; ``stride2`` 3x3 of
            stride 2.
        variant: ``paper`` projects the shortcut in the first block of every stage and pads its pool
            as TensorFlow does; ``torchvision`` loads torchvision's state dict.
        channels: of the stem at width 1.
        group_images: groups of batch norm; see ``GroupBatchNorm``.
        generator: source of the initial weights.

    Raises ValueError for a depth that is not listed.
    """
    if depth not in BLOCKS:
        raise ValueError(f"depth is {depth}; allowed: {', '.join(map(str, BLOCKS))}")

    def norm(features: int) -> nn.Module:
        return GroupBatchNorm(features, group_images=group_images)

    network = ResNet(depth, channels * width, stem, variant, norm)
    _initialise(network, generator)
    return network


@torch.no_grad()
def _initialise(network: ResNet, generator: torch.Generator | None) -> None:
    """Truncated normal with standard deviation 1/sqrt(fan in); the last scale of a block is 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            std = 1 / math.sqrt(fan_in) / _TRUNCATED_STD
            nn.init.trunc_normal_(
                module.weight, std=std, a=-2 * std, b=2 * std, generator=generator
            )
        if isinstance(module, _Block):
            nn.init.zeros_(module.last_scale)


class RawPixels(nn.Module):
    """The reference without an encoder: h is the flattened image."""

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.feature_dim = 3 * image_size**2

    def forward(self, images: Float[Tensor, "m 3 height width"]) -> Float[Tensor, "m d"]:
        """Pixels as they are."""
        return images.flatten(1)
