"""Encoders: sizes as the official code's, initial weights, torchvision's own results."""

import math

import pytest
import torch
from golden_values import golden
from torch import nn

from simclr_lab.contrastive.batch_norm import GroupBatchNorm
from simclr_lab.contrastive.encoder import RawPixels, resnet
from simclr_lab.contrastive.projection import projection_head

NETS = golden("param_counts")["nets"]
STEMS = {"imagenet_stem": "imagenet", "cifar_stem": "cifar"}


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("net", NETS)
def test_official_sizes(net: str) -> None:
    depth, width = (int(text.strip("Rx")) for text in net.split("_"))
    for stem, name in STEMS.items():
        expected = NETS[net][stem]
        with torch.device("meta"):
            encoder = resnet(depth, width, name)
            head = projection_head(encoder.feature_dim, 128, 2)
        assert encoder.feature_dim == expected["feature_dim"]
        assert parameters(encoder) == expected["encoder_trainable_params"]
        assert parameters(head) == NETS[net]["head_params_2layer_128"]


def test_the_laptop_encoder_is_what_it_was_measured_as() -> None:
    encoder = resnet(18, stem="stride2", channels=16)
    assert encoder.feature_dim == 128
    assert 0.69e6 < parameters(encoder) < 0.74e6


@pytest.mark.parametrize(("stem", "side"), [("imagenet", 1), ("cifar", 4), ("stride2", 2)])
def test_stems_reduce_32_pixels(stem, side: int) -> None:
    encoder = resnet(18, stem=stem, channels=8).eval()
    shapes = []
    encoder.layer4.register_forward_hook(lambda *args: shapes.append(args[2].shape[2:]))
    encoder(torch.rand(2, 3, 32, 32))
    assert shapes == [(side, side)]


def test_initial_weights_are_the_official_ones() -> None:
    encoder = resnet(18, stem="cifar", generator=torch.Generator().manual_seed(0))
    weight = encoder.layer4[1].conv2.weight.detach()
    std = (1 / weight[0].numel()) ** 0.5
    assert float(weight.std()) == pytest.approx(std, rel=0.01)
    assert float(weight.abs().max()) <= 2 * std / 0.8796 + 1e-6  # cut at two, then rescaled
    for block in encoder.layer2:
        assert not block.bn2.weight.any()  # a block starts as its shortcut
        assert bool((block.bn1.weight == 1).all())


def test_initial_weights_depend_on_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = resnet(18, channels=8, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(2)
    again = resnet(18, channels=8, generator=torch.Generator().manual_seed(3))
    other = resnet(18, channels=8, generator=torch.Generator().manual_seed(4))
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


@torch.no_grad()
def with_every_number_random(network: nn.Module) -> nn.Module:
    """As it is built, the last scale of a block is zero and hides the whole branch."""
    generator = torch.Generator().manual_seed(0)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.weight.uniform_(0.5, 1.0, generator=generator)
        norm.bias.uniform_(-0.5, 0.5, generator=generator)
        norm.running_mean.uniform_(-0.5, 0.5, generator=generator)
        norm.running_var.uniform_(0.5, 2.0, generator=generator)
    return network


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_torchvision_variant_computes_what_torchvision_computes(depth: int) -> None:
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    theirs.fc = nn.Identity()
    with_every_number_random(theirs)
    ours = resnet(depth, variant="torchvision", generator=torch.Generator().manual_seed(0))
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert missing == []
    assert [name for name in unexpected if "num_batches" not in name] == []
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = (network.double().eval()(images.double()) for network in (ours, theirs))
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def slow_same_pool(rows: list[list[float]]) -> list[list[float]]:
    """TensorFlow's SAME: the window of output i starts at 2 i less what is padded before."""
    n = len(rows)
    out = math.ceil(n / 2)
    before = max((out - 1) * 2 + 3 - n, 0) // 2
    starts = [2 * i - before for i in range(out)]
    inside = [range(max(start, 0), min(start + 3, n)) for start in starts]
    return [[max(rows[i][j] for i in down for j in right) for right in inside] for down in inside]


def test_the_papers_pool_pads_below_and_to_the_right_first() -> None:
    pooled = resnet(18, channels=8)._pool(torch.arange(16.0).view(1, 1, 4, 4))
    assert pooled.tolist() == [[[[10.0, 11.0], [14.0, 15.0]]]]


@pytest.mark.parametrize("side", [3, 4, 5, 7, 8, 13])
def test_the_papers_pool_equals_its_loop(side: int) -> None:
    x = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(side)) - 5
    pooled = resnet(18, channels=8)._pool(x)
    assert pooled[0, 0].tolist() == slow_same_pool(x[0, 0].tolist())


def test_paper_variant_projects_every_stage_torchvisions_does_not() -> None:
    paper, torchvision = resnet(18, channels=8), resnet(18, channels=8, variant="torchvision")
    assert paper.layer1[0].downsample is not None
    assert torchvision.layer1[0].downsample is None


def test_unlisted_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="depth is 20; allowed: 18"):
        resnet(20)


def test_raw_pixels_are_the_image() -> None:
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(RawPixels(8)(images), images.reshape(2, -1))


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 5])
def test_heads_of_any_depth(depth: int) -> None:
    head = projection_head(16, 8, depth, generator=torch.Generator().manual_seed(0))
    dense = [m for m in head.modules() if isinstance(m, nn.Linear)]
    assert len(dense) == depth
    assert all(layer.bias is None for layer in dense)
    z = head(torch.rand(6, 16))
    assert z.shape == (6, 8 if depth else 16)
    assert sum(isinstance(m, nn.ReLU) for m in head.modules()) == max(depth - 1, 0)


def test_the_last_norm_of_a_head_has_no_shift_and_weights_are_small() -> None:
    head = projection_head(256, 128, 2, generator=torch.Generator().manual_seed(0))
    norms = [m for m in head if hasattr(m, "running_mean")]
    assert norms[0].bias is not None
    assert norms[1].bias is None
    assert float(head[0].weight.detach().std()) == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("depth", range(5))
def test_the_layers_of_a_head_in_their_order(depth: int) -> None:
    head = projection_head(16, 8, depth, group_images=4)
    hidden = [nn.Linear, GroupBatchNorm, nn.ReLU] * (depth - 1)
    assert [type(m) for m in head.children()] == (
        [*hidden, nn.Linear, GroupBatchNorm] if depth else []
    )
    norms = [m for m in head.children() if isinstance(m, GroupBatchNorm)]
    assert [norm.bias is not None for norm in norms] == [True] * (depth - 1) + [False] * (depth > 0)
    assert all(norm.group_images == 4 for norm in norms)


def test_negative_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="depth is -1; allowed"):
        projection_head(4, depth=-1)
