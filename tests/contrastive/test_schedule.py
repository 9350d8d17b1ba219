"""Learning rates against the official schedule's values."""

import itertools
import math

import pytest
from golden_values import golden

from simclr_lab.contrastive.schedule import learning_rate_at, scaled_learning_rate
from simclr_lab.steps import total_steps, warmup_steps


@pytest.mark.parametrize("case", golden("lr_schedule")["cases"], ids=lambda case: case["case"])
def test_official_values(case) -> None:
    images, batch = case["num_examples"], case["batch"]
    total = total_steps(images, case["epochs"], batch)
    warmup = warmup_steps(images, case["warmup_epochs"], batch)
    assert (warmup, total) == (case["warmup_steps"], case["total_steps"])
    peak = scaled_learning_rate(case["base_lr"], batch, case["scaling"])
    for step, expected in case["lr_at_step"].items():
        rate = learning_rate_at(int(step), peak=peak, warmup_steps=warmup, total_steps=total)
        assert rate == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_both_rules_give_4_8_at_the_papers_batch() -> None:
    assert scaled_learning_rate(0.3, 4096, "linear") == pytest.approx(4.8)
    assert scaled_learning_rate(0.075, 4096, "sqrt") == pytest.approx(4.8)
    assert scaled_learning_rate(0.7, 4096, "none") == 0.7


def test_shape_ramp_then_half_a_cosine() -> None:
    rates = [learning_rate_at(s, peak=2.0, warmup_steps=4, total_steps=12) for s in range(13)]
    assert rates[:5] == [0.0, 0.5, 1.0, 1.5, 2.0]
    slow = [2.0 * (1 + math.cos(math.pi * k / 8)) / 2 for k in range(9)]
    assert rates[4:] == pytest.approx(slow)
    assert all(a > b for a, b in itertools.pairwise(rates[4:]))


def test_constant_schedule_stays_at_the_peak() -> None:
    rates = [
        learning_rate_at(s, peak=1.0, warmup_steps=2, total_steps=6, schedule="constant")
        for s in range(6)
    ]
    assert rates == [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="cubic"):
        scaled_learning_rate(0.3, 256, "cubic")  # type: ignore[arg-type]
