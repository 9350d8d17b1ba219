"""Batch norm over groups: torch's own for the whole batch, a loop for groups, any workers."""

import pytest
import torch
import workers
from distributed import run_workers
from torch import Tensor, nn

from simclr_lab.contrastive.batch_norm import GroupBatchNorm, Groups


def rows(images: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(0.5, 3, 2 * images, dtype=dtype).view(-1, *[1] * len(shape))
    return torch.randn(2 * images, *shape, generator=generator, dtype=dtype) * scale + scale


def slow_groups(x: Tensor, weight: Tensor, bias: Tensor, group_images: int) -> Tensor:
    """Normalise group by group, channel by channel; images of both views go together."""
    n = len(x) // 2
    out = torch.empty_like(x)
    for start in range(0, n, group_images):
        images = list(range(start, start + group_images))
        members = images + [n + i for i in images]
        for c in range(x.shape[1]):
            values = x[members, c]
            mean = values.mean()
            var = (values - mean).square().mean()
            out[members, c] = (values - mean) / (var + 1e-5).sqrt() * weight[c] + bias[c]
    return out


@pytest.mark.parametrize("shape", [(5,), (5, 3, 4)])
def test_whole_batch_is_torchs_own(shape: tuple[int, ...]) -> None:
    x = rows(6, *shape).requires_grad_()
    ours = GroupBatchNorm(5).double()
    theirs = (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(5).double()
    dy = torch.randn_like(x)
    results = [torch.autograd.grad(norm(x), x, dy)[0] for norm in (ours, theirs)]
    assert torch.allclose(ours(x), theirs(x), rtol=1e-12)
    assert torch.allclose(*results, rtol=1e-12)


@pytest.mark.parametrize("group_images", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(4,), (4, 2, 3)])
def test_groups_equal_their_loop(group_images: int, shape: tuple[int, ...]) -> None:
    norm = GroupBatchNorm(4, group_images=group_images).double()
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 4))
        norm.bias.copy_(torch.linspace(-1, 1, 4))
    x = rows(6, *shape).requires_grad_()
    twin = x.detach().clone().requires_grad_()
    y, slow = norm(x), slow_groups(twin, norm.weight, norm.bias, group_images)
    assert torch.allclose(y, slow, rtol=1e-10)
    dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad(y, [x, norm.weight, norm.bias], dy)
    theirs = torch.autograd.grad(slow, [twin, norm.weight, norm.bias], dy)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("group_images", [None, 2])
def test_running_statistics_are_the_biased_ones_of_the_whole_batch(group_images) -> None:
    x = rows(6, 4, 2, 3)
    norm = GroupBatchNorm(4, group_images=group_images, momentum=0.3).double()
    norm(x)
    mean, var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), correction=0)
    assert torch.allclose(norm.running_mean, 0.3 * mean)
    assert torch.allclose(norm.running_var, 0.7 + 0.3 * var)


def test_evaluation_uses_and_keeps_the_running_statistics() -> None:
    norm = GroupBatchNorm(4).double()
    norm(rows(6, 4))
    norm.eval()
    before = norm.running_mean.clone(), norm.running_var.clone()
    x = rows(3, 4)
    expected = (x - before[0]) / (before[1] + 1e-5).sqrt()
    assert torch.allclose(norm(x), expected)
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_var, before[1])


def test_half_precision_input_is_normalised_in_full() -> None:
    x = rows(8, 4, 2, 2, dtype=torch.float32)
    for group_images in (None, 2):
        norm = GroupBatchNorm(4, group_images=group_images)
        y = norm(x.bfloat16())
        assert y.dtype == torch.bfloat16
        exact = GroupBatchNorm(4, group_images=group_images)(x.bfloat16().float())
        assert torch.allclose(y.float(), exact, atol=0.02)


CASES = [
    {"x": rows(8, 3, 2, 2), "dy": rows(8, 3, 2, 2).flip(0).sin(), "group_images": g, "bias": bias}
    for g, bias in [(None, True), (1, True), (2, True), (4, True), (8, True), (4, False)]
]


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_workers_equal_one(world_size: int) -> None:
    expected = workers.batch_norms(CASES)
    found = run_workers(workers.batch_norms, world_size, CASES)
    for index, whole in enumerate(expected):
        for name in ("y", "dx"):
            views = [torch.stack(rank[index][name].chunk(2)) for rank in found]
            joined = torch.cat(views, dim=1).flatten(0, 1)
            assert torch.allclose(joined, whole[name], rtol=1e-10, atol=1e-12), (index, name)
        for name in ("sums", "running_mean", "running_var"):
            for rank in found:
                assert torch.allclose(rank[index][name], whole[name], rtol=1e-10), (index, name)


@pytest.mark.parametrize(
    ("local", "group", "worker_count", "expected"),
    [
        (8, None, 1, Groups(1, 8, 1)),
        (4, None, 2, Groups(1, 4, 2)),
        (8, 2, 2, Groups(4, 2, 1)),
        (2, 4, 4, Groups(1, 2, 2)),
    ],
)
def test_how_images_lie_in_groups(local, group, worker_count, expected) -> None:
    assert Groups.of(local, group, worker_count) == expected


@pytest.mark.parametrize(("local", "group", "worker_count"), [(6, 4, 1), (4, 6, 2), (4, 12, 2)])
def test_groups_that_cut_through_workers_are_refused(local, group, worker_count) -> None:
    with pytest.raises(ValueError, match=f"groups of {group} images with {local}"):
        Groups.of(local, group, worker_count)
