"""Replays judged: by the encoder, then by the bootstrap of the test accuracy."""

import numpy as np
import pytest
from tracking_records import record

from simclr_lab.tracking.comparison import Verdict, bootstrap_interval, compare


def cell(sha: str | None, **metrics: float):
    return record(
        encoder_sha256=sha, metrics={name.replace("__", "/"): v for name, v in metrics.items()}
    )


@pytest.mark.parametrize(
    ("sha", "accuracy", "verdict"),
    [
        ("a", 40.0, Verdict.IDENTICAL),
        ("b", 40.9, Verdict.WITHIN),
        ("b", 41.1, Verdict.DIFFERENT),
        ("b", 38.9, Verdict.DIFFERENT),
        (None, 40.0, Verdict.WITHIN),
    ],
)
def test_verdicts(sha: str | None, accuracy: float, verdict: Verdict) -> None:
    original = cell("a", linear__test_top1=40.0, knn__test_top1=1.0)
    replayed = cell(sha, linear__test_top1=accuracy, knn__test_top1=99.0)
    assert compare(original, replayed, 10_000).verdict is verdict


def test_without_digests_or_a_shared_test_metric_nothing_is_called_equal() -> None:
    nothing = compare(cell(None, linear__val_top1=40.0), cell(None, linear__val_top1=40.0), 100)
    assert nothing.verdict is Verdict.DIFFERENT
    assert compare(cell(None), cell(None), 100).verdict is Verdict.DIFFERENT


def test_the_interval_is_the_limit_of_the_bootstrap() -> None:
    """The slow twin: resample right-or-wrong answers, take percentiles of their mean."""
    images, right = 1_000, 400
    answers = np.arange(images) < right
    generator = np.random.default_rng(0)
    means = [answers[generator.integers(0, images, images)].mean() for _ in range(4_000)]
    low, high = np.percentile(means, [2.5, 97.5])
    assert bootstrap_interval(100 * right / images, images) == pytest.approx(
        (100 * low, 100 * high), abs=0.2
    )


def test_certain_accuracies_have_no_width() -> None:
    assert bootstrap_interval(0.0, 100) == (0.0, 0.0)
    assert bootstrap_interval(100.0, 100) == (100.0, 100.0)
