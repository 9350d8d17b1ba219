"""Operators of Figure 4 and App. B.2 against twins and what the paper's images measure."""

import numpy as np
import pytest
import torch
from golden_values import golden
from torch import Tensor

from simclr_lab.contrastive.augment.broader import (
    Equalize,
    MotionBlur,
    Solarize,
    line_kernels,
    motion_blur,
)
from simclr_lab.contrastive.augment.cutout import Cutout, cut_out
from simclr_lab.contrastive.augment.noise import GaussianNoise, normal
from simclr_lab.contrastive.augment.operator import Draws
from simclr_lab.contrastive.augment.rotate import Rotate
from simclr_lab.contrastive.augment.sobel import KERNEL, Sobel, shift, sobel, stretch

MEASURED = golden("fig4_measurements")
OPERATORS = [
    Cutout(0.7),
    Cutout(0.7, "anywhere"),
    GaussianNoise(0.7),
    GaussianNoise(0.7, law="constant"),
    Rotate(),
    Sobel(0.5),
    Sobel(0.5, "fixed"),
    Equalize(0.7),
    Solarize(0.7),
    MotionBlur(0.7),
]


def images(n: int, size: int = 16) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def draws(n: int) -> Draws:
    return Draws(torch.arange(n) * 982_451_653 + 7, None, 16)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: type(o).__name__)
class TestEveryOperator:
    def test_each_image_is_changed_as_if_alone(self, operator) -> None:
        together = operator(images(20), draws(20))
        for index in range(20):
            part = slice(index, index + 1)
            alone = operator(images(20)[part], Draws(draws(20).seeds[part], None, 16))
            assert torch.allclose(together[part], alone, atol=1e-6)

    def test_values_stay_in_range_and_the_input_is_kept(self, operator) -> None:
        x = images(50)
        before = x.clone()
        y = operator(x, draws(50))
        assert torch.equal(x, before)
        assert y.shape == x.shape
        assert float(y.min()) >= 0
        assert float(y.max()) <= 1


def test_cutout_equals_its_loop() -> None:
    x = images(3, 8).double()
    top, left = torch.tensor([0, 2, 4]), torch.tensor([4, 1, 0])
    fast = cut_out(x, top, left, 4)
    for n in range(3):
        slow = x[n].clone()
        for i in range(int(top[n]), int(top[n]) + 4):
            for j in range(int(left[n]), int(left[n]) + 4):
                slow[:, i, j] = x[n].sum() / x[n].numel()
        assert torch.allclose(fast[n], slow)


def test_cutout_is_the_papers_square_anywhere_inside() -> None:
    x = images(5000)
    cut = (Cutout()(x, draws(5000)) != x).any(dim=1)
    share = MEASURED["cutout"]["side_px"] / MEASURED["cutout"]["image_px"]
    assert bool((cut.sum(dim=(1, 2)) == (16 * share) ** 2).all())
    tops = cut.any(dim=2).double().argmax(dim=1)
    counts = torch.bincount(tops, minlength=9) / 5000
    assert float((counts - 1 / 9).abs().max()) < 0.02


def test_cutout_fills_with_what_the_papers_image_measures() -> None:
    """An image of the example's size and mean, of channels that differ, is cut as the example."""
    measured = MEASURED["cutout"]
    x = images(1, measured["image_px"])
    x = x - x.mean(dim=(2, 3), keepdim=True)
    shifts = torch.tensor([-0.2, 0.05, 0.15]).view(1, 3, 1, 1)
    x = measured["image_scalar_mean"] + shifts + 0.2 * x
    y = Cutout()(x, draws(1))
    cut = (y != x).any(dim=1)[0]
    assert int(cut.any(dim=1).sum()) == int(cut.any(dim=0).sum()) == measured["side_px"]
    filled = y[0, :, cut]
    assert filled.shape == (3, measured["side_px"] ** 2)
    assert float((filled - measured["fill"]).abs().max()) < 1 / 255  # the example has 256 levels


def test_cutout_anywhere_has_its_centre_anywhere_and_is_clipped_at_the_border() -> None:
    """Every square as a loop over the pixels that a centre reaches; every centre equally often."""
    n, size, side = 4000, 8, 4
    x = torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))
    cut = (Cutout(position="anywhere")(x, draws(n)) != x).any(dim=1)
    squares = {}
    for centre in np.ndindex(size, size):
        square = torch.zeros(size, size, dtype=torch.bool)
        for i, j in np.ndindex(side, side):
            row, column = centre[0] - side // 2 + i, centre[1] - side // 2 + j
            if 0 <= row < size and 0 <= column < size:
                square[row, column] = True
        squares[square.numpy().tobytes()] = 0
    assert len(squares) == size**2
    for each in cut.numpy():
        squares[each.tobytes()] += 1
    assert max(abs(count / n - 1 / size**2) for count in squares.values()) < 0.01


def test_noise_is_the_papers_blend() -> None:
    """At the example's level, gain and deviation come out as the example measures."""
    level = MEASURED["gaussian_noise"]["std"]
    x = torch.full((200, 3, 16, 16), 0.5)
    operator = GaussianNoise(1.0, 1.0)
    noise = normal(draws(200).seeds, 768).view_as(x)
    blended = (1 - level) * x + level * noise
    assert float(blended.mean() / x.mean()) == pytest.approx(
        MEASURED["gaussian_noise"]["gain"], abs=2e-3
    )
    assert float(blended.std()) == pytest.approx(level, rel=0.01)
    levels = operator.levels(draws(200)).float()[:, None, None, None]
    expected = (1 - levels) * x + levels * normal(_noise_seeds(200), 768).float().view_as(x)
    assert torch.allclose(operator(x, draws(200)), expected.clamp(0, 1), atol=1e-6)


def _noise_seeds(n: int) -> Tensor:
    from simclr_lab.contrastive.draws import derive

    return derive(draws(n).seeds, "noise")


def test_noise_is_normal_and_independent() -> None:
    from scipy import stats

    drawn = normal(draws(400).seeds, 300)
    flat = drawn.flatten().numpy()
    assert stats.kstest(flat, "norm").pvalue > 1e-3
    for first, second in [
        (drawn[:, 0], drawn[:, 1]),
        (drawn[0], drawn[1]),
        (drawn[:-1, 5], drawn[1:, 5]),
    ]:
        assert abs(float(np.corrcoef(first, second)[0, 1])) < 0.2


def test_noise_levels_are_uniform_up_to_the_largest() -> None:
    levels = GaussianNoise(0.5, 0.2).levels(draws(10_000))
    assert float((levels > 0).double().mean()) == pytest.approx(0.5, abs=0.02)
    drawn = levels[levels > 0]
    assert float(drawn.mean()) == pytest.approx(0.1, abs=0.003)
    assert 0.198 < float(drawn.max()) <= 0.2


def test_constant_noise_is_always_the_largest() -> None:
    levels = GaussianNoise(0.5, 0.2, "constant").levels(draws(10_000))
    assert set(levels.tolist()) == {0.0, 0.2}
    assert float((levels > 0).double().mean()) == pytest.approx(0.5, abs=0.02)
    same = GaussianNoise(0.5, 0.2).levels(draws(10_000)) > 0
    assert torch.equal(levels > 0, same)


def test_rotation_is_exact_and_even() -> None:
    x = images(4000)
    turned = Rotate()(x, draws(4000))
    quarters = torch.stack(
        [(torch.rot90(x, k, (2, 3)) == turned).flatten(1).all(dim=1) for k in range(4)]
    )
    assert bool((quarters.sum(dim=0) == 1).all())
    assert float((quarters.double().mean(dim=1) - 0.25).abs().max()) < 0.03
    one = x[0].numpy().transpose(1, 2, 0)
    assert np.array_equal(np.rot90(one, 3).transpose(2, 0, 1), torch.rot90(x[0], 3, (1, 2)).numpy())


def test_sobel_has_the_papers_kernel() -> None:
    """The kernel fitted to the example is the sum of the two textbook kernels."""
    assert [list(row) for row in KERNEL] == MEASURED["sobel"]["kernel"]
    vertical = torch.tensor([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]])
    assert torch.equal(torch.tensor(KERNEL), vertical + vertical.T)


def test_sobel_equals_its_loop_with_mirrored_borders() -> None:
    x = images(2, 6).double()
    fast = sobel(x)
    mirrored = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    for n in range(2):
        for c in range(3):
            for i in range(6):
                for j in range(6):
                    patch = mirrored[n, c, i : i + 3, j : j + 3]
                    assert float(fast[n, c, i, j]) == pytest.approx(float((patch * KERNEL).sum()))


def test_stretch_uses_the_whole_range_and_survives_flat_images() -> None:
    x = stretch(sobel(images(5)))
    assert torch.equal(x.amin(dim=(1, 2, 3)), torch.zeros(5))
    assert torch.equal(x.amax(dim=(1, 2, 3)), torch.ones(5))
    assert not stretch(sobel(torch.full((1, 3, 8, 8), 0.3))).any()


def slow_stretch(image: list[list[list[float]]]) -> list[list[list[float]]]:
    """One range for the whole image, whatever each channel's own."""
    values = [value for channel in image for row in channel for value in row]
    low, high = min(values), max(values)
    return [[[(value - low) / (high - low) for value in row] for row in c] for c in image]


def test_stretch_equals_its_loop_over_channels_of_different_range() -> None:
    x = images(4, 8).double()
    x[:, 1] *= 0.2
    x[:, 2] = x[:, 2] / 2 + 0.5
    filtered = sobel(x)
    found = Sobel(1.0)(x, draws(4))
    for n in range(4):
        slow = torch.tensor(slow_stretch(filtered[n].tolist()), dtype=torch.float64)
        assert torch.allclose(found[n], slow, atol=1e-12)
    assert not bool((found.amax(dim=(2, 3)) == 1).all(dim=1).any())  # not each channel by itself


def test_sobel_has_the_papers_gain_and_offset() -> None:
    """Where dx + dy has the example's range, the operator is the map fitted to the example."""
    measured = MEASURED["sobel"]
    gain, offset = (measured["minmax_prediction"][name] for name in ("gain", "offset"))
    low, high = -offset / gain, (1 - offset) / gain
    kernel = torch.tensor(KERNEL, dtype=torch.float64)
    x = 0.5 + 0.01 * (images(1, 24).double() - 0.5)
    for channel, row, wanted in ((0, 4, high), (1, 14, low)):
        # The sign of every tap, so high that the six taps of size two add up to what is wanted.
        x[0, channel, row : row + 3, row : row + 3] = 0.5 + wanted / 12 * kernel.sign()
    filtered = sobel(x)
    assert float(filtered.min()) == pytest.approx(low)
    assert float(filtered.max()) == pytest.approx(high)
    fitted = np.polyfit(filtered.flatten().numpy(), Sobel(1.0)(x, draws(1)).flatten().numpy(), 1)
    assert fitted == pytest.approx([gain, offset], abs=1e-6)
    assert fitted == pytest.approx([measured["gain"], measured["offset"]], abs=3e-3)


def test_fixed_sobel_is_half_plus_a_twelfth_of_the_gradient() -> None:
    """The filter's extremes on images in [0, 1] become 0 and 1; a flat image becomes gray."""
    x = images(3, 6)
    found = Sobel(1.0, "fixed")(x, draws(3))
    gradients = sobel(x)
    for n, c, i, j in np.ndindex(*x.shape):
        slow = 0.5 + float(gradients[n, c, i, j]) / 12
        assert float(found[n, c, i, j]) == pytest.approx(slow, abs=1e-6)
    kernel = torch.tensor(KERNEL)
    for extreme, expected in (((kernel > 0).float(), 1.0), ((kernel < 0).float(), 0.0)):
        patch = extreme.expand(1, 3, 3, 3)
        assert float(shift(sobel(patch))[0, 0, 1, 1]) == pytest.approx(expected)
    flat = torch.full((1, 3, 8, 8), 0.3)
    assert torch.allclose(Sobel(1.0, "fixed")(flat, draws(1)), torch.tensor(0.5))


def slow_equalize(channel: list[int]) -> list[int]:
    """The histogram look-up that PIL documents, one level at a time."""
    histogram = [channel.count(level) for level in range(256)]
    filled = [count for count in histogram if count]
    step = (sum(filled) - filled[-1]) // 255
    if len(filled) <= 1 or step == 0:
        return channel
    table, passed = [], step // 2
    for count in histogram:
        table.append(min(passed // step, 255))
        passed += count
    return [table[level] for level in channel]


def test_equalize_equals_its_loop() -> None:
    x = (images(2, 32) * 0.3 + 0.2).mul(255).round() / 255
    x[1, 2] = 0.4  # a flat channel stays
    found = (Equalize(1.0)(x, draws(2)) * 255).round().int()
    for n in range(2):
        for c in range(3):
            slow = slow_equalize((x[n, c] * 255).round().int().flatten().tolist())
            assert found[n, c].flatten().tolist() == slow


def test_solarize_inverts_from_the_threshold_up() -> None:
    x = torch.tensor([0.0, 0.3, 0.49, 0.5, 0.8, 1.0]).view(1, 1, 1, 6).expand(1, 3, 6, 6)
    found = Solarize(1.0)(x, draws(1))
    assert torch.allclose(found[0, 0, 0], torch.tensor([0.0, 0.3, 0.49, 0.5, 0.2, 0.0]))


def test_motion_blur_is_an_average_along_a_line() -> None:
    angles = torch.tensor([0.0, np.pi / 2], dtype=torch.float64)
    across, down = line_kernels(angles, 5)
    assert torch.allclose(across[2], torch.full((5,), 0.2, dtype=torch.float64))
    assert torch.allclose(down, across.T, atol=1e-12)
    assert float(across[[0, 1, 3, 4]].abs().sum()) < 1e-12


def test_motion_blur_equals_its_loop() -> None:
    x = images(2, 7).double()
    kernels = line_kernels(torch.tensor([0.4, 2.1], dtype=torch.float64), 3)
    fast = motion_blur(x, kernels)
    mirrored = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    for n in range(2):
        for i in range(7):
            for j in range(7):
                patch = mirrored[n, 0, i : i + 3, j : j + 3]
                slow = float((patch * kernels[n].numpy()).sum())
                assert float(fast[n, 0, i, j]) == pytest.approx(slow)
