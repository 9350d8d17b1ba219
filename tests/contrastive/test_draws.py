"""Counter-based draws: a known generator, evenly spread, a function of the counter alone."""

import pytest
import torch

from simclr_lab.contrastive.draws import derive, generator, image_seeds, integers, uniform


def slow_splitmix64(seed: int, count: int) -> list[int]:
    """The published generator, on Python's integers."""
    mask, state, outputs = (1 << 64) - 1, seed & ((1 << 64) - 1), []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        outputs.append(z ^ (z >> 31))
    return outputs


@pytest.mark.parametrize("seed", [0, 1, 1234567, -1, 2**62])
def test_uniform_is_splitmix64(seed: int) -> None:
    for counter, output in enumerate(slow_splitmix64(seed, 4)):
        drawn = uniform(torch.tensor([seed]), counter)
        assert float(drawn) == (output >> 11) * 2.0**-53


def test_the_first_published_output() -> None:
    """Seed 1234567 gives 6457827717110365317, the value in circulation for checking ports."""
    assert slow_splitmix64(1234567, 1) == [6457827717110365317]


def many(seed: int = 0) -> torch.Tensor:
    positions = torch.arange(100_000)
    return image_seeds(seed, "views", torch.zeros_like(positions), positions)


def test_uniform_is_even_and_neighbours_are_unrelated() -> None:
    u = uniform(many(), 0)
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    assert float(u.mean()) == pytest.approx(0.5, abs=0.005)
    counts = torch.histc(u, 20, 0, 1) / len(u)
    assert float((counts - 0.05).abs().max()) < 0.005
    pairs = [(u[:-1], u[1:]), (u, uniform(many(), 1)), (u, uniform(many(1), 0))]
    pairs.append((u, uniform(derive(many(), "crop"), 0)))
    for left, right in pairs:
        assert abs(float(torch.corrcoef(torch.stack([left, right]))[0, 1])) < 0.012


def test_all_image_seeds_differ() -> None:
    epochs = torch.arange(50).repeat_interleave(2000)
    positions = torch.arange(2000).repeat(50)
    assert len(image_seeds(7, "views", epochs, positions).unique()) == 100_000


def test_integers_cover_their_range_evenly() -> None:
    drawn = integers(many(), 3, 7)
    counts = torch.bincount(drawn, minlength=7) / len(drawn)
    assert len(counts) == 7
    assert float((counts - 1 / 7).abs().max()) < 0.005


def test_generators_of_two_purposes_or_epochs_differ() -> None:
    draws = [
        torch.rand(3, generator=generator(*key)).tolist()
        for key in [(0, "order", 0), (0, "order", 1), (1, "order", 0), (0, "encoder", 0)]
    ]
    assert len({tuple(draw) for draw in draws}) == 4
    assert draws[0] == torch.rand(3, generator=generator(0, "order", 0)).tolist()
