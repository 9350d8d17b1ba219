"""The training stream: every image once an epoch, any worker's slice of any step, no state."""

import pytest
import torch

from simclr_lab.data.stream import TrainingStream
from simclr_lab.steps import total_steps


def whole_stream(images: int, batch: int, steps: int, seed: int = 0) -> list[tuple[int, int, int]]:
    stream = TrainingStream(images, batch, seed)
    rows = []
    for step in range(steps):
        part = stream.slice(step)
        rows += zip(
            part.epochs.tolist(), part.positions.tolist(), part.indices.tolist(), strict=True
        )
    return rows


def test_every_epoch_is_a_permutation_and_batches_straddle_epochs() -> None:
    rows = whole_stream(10, 4, 10)
    for epoch in range(4):
        assert sorted(index for e, _, index in rows if e == epoch) == list(range(10))
        assert [p for e, p, _ in rows if e == epoch] == list(range(10))
    orders = {tuple(i for e, _, i in rows if e == epoch) for epoch in range(4)}
    assert len(orders) == 4


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_workers_slices_make_the_global_batch(world_size: int) -> None:
    stream = TrainingStream(10, 8, 3)
    for step in (0, 1, 7):
        whole = stream.slice(step)
        parts = [stream.slice(step, rank, world_size) for rank in range(world_size)]
        for name in ("indices", "epochs", "positions"):
            joined = torch.cat([getattr(part, name) for part in parts])
            assert torch.equal(joined, getattr(whole, name))


def test_a_step_in_the_middle_needs_no_step_before_it() -> None:
    part = TrainingStream(10, 4, 0).slice(5)
    lists = (part.epochs.tolist(), part.positions.tolist(), part.indices.tolist())
    assert whole_stream(10, 4, 6)[-4:] == list(zip(*lists, strict=True))


def test_the_order_depends_on_the_seed() -> None:
    assert whole_stream(50, 10, 5, seed=0) == whole_stream(50, 10, 5, seed=0)
    assert whole_stream(50, 10, 5, seed=0) != whole_stream(50, 10, 5, seed=1)


@pytest.mark.parametrize(("images", "batch"), [(10, 5), (10, 4), (45_000, 512), (6000, 128)])
def test_an_epoch_ends_at_the_first_step_past_its_last_image(images: int, batch: int) -> None:
    stream = TrainingStream(images, batch, 0)
    epochs = 3
    steps = total_steps(images, epochs, batch)
    ends = [
        s
        for s in range(1, steps + 1)
        if stream.completed_epochs(s) > stream.completed_epochs(s - 1)
    ]
    assert len(ends) == epochs
    assert ends[-1] == steps
    for epoch, step in enumerate(ends, start=1):
        assert step * batch > epoch * images >= (step - 1) * batch


def test_unequal_shares_and_too_large_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="3 workers cannot share a batch of 8"):
        TrainingStream(10, 8, 0).slice(0, 0, 3)
    with pytest.raises(ValueError, match="batch size is 11; allowed: 1 to 10"):
        TrainingStream(10, 11, 0)
