"""Encoders: sizes as the official code's, initial weights, torchvision's own results."""

import pytest
import torch
from golden_values import golden
from torch import nn

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


@pytest.mark.parametrize("depth", [18, 50])
def test_torchvision_variant_computes_what_torchvision_computes(depth: int) -> None:
    import torchvision

    ours = resnet(depth, variant="torchvision", generator=torch.Generator().manual_seed(0))
    theirs = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    theirs.fc = nn.Identity()
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert [name for name in missing if "num_batches" not in name] == []
    assert unexpected == []
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(ours.eval()(images), theirs.eval()(images), atol=1e-5)


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


def test_negative_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="depth is -1; allowed"):
        projection_head(4, depth=-1)
