"""A replay beside the cell that it repeats: identical, within the noise of the test set, or not."""

from dataclasses import dataclass
from enum import StrEnum

from scipy.stats import binom

from simclr_lab.cell import CellRecord

CONFIDENCE = 0.95
TEST_METRICS = ("linear/test_top1", "linear_sgd/test_top1", "knn/test_top1", "linear_z/test_top1")


class Verdict(StrEnum):
    """How a replay came out."""

    IDENTICAL = "identical"
    WITHIN = "within"
    DIFFERENT = "different"


@dataclass(frozen=True)
class Comparison:
    """The verdict, and the numbers behind it where the encoders differ (percent)."""

    verdict: Verdict
    metric: str | None = None
    original: float | None = None
    replayed: float | None = None
    interval: tuple[float, float] | None = None


def compare(original: CellRecord, replayed: CellRecord, test_images: int) -> Comparison:
    """Judge a replay.

    Identical: the encoders' SHA-256 agree. Within: the replay's test accuracy lies in the bootstrap
    interval of the original's. Otherwise different, also where there is no test accuracy.
    """
    if original.encoder_sha256 and original.encoder_sha256 == replayed.encoder_sha256:
        return Comparison(Verdict.IDENTICAL)
    shared = original.metrics.keys() & replayed.metrics.keys()
    metric = next((name for name in TEST_METRICS if name in shared), None)
    if metric is None:
        return Comparison(Verdict.DIFFERENT)
    first, second = original.metrics[metric], replayed.metrics[metric]
    low, high = bootstrap_interval(first, test_images)
    verdict = Verdict.WITHIN if low <= second <= high else Verdict.DIFFERENT
    return Comparison(verdict, metric, first, second, (low, high))


def bootstrap_interval(accuracy: float, images: int) -> tuple[float, float]:
    """Percentile interval of an accuracy in percent when its test images are drawn anew.

    Resampling n right-or-wrong answers gives a binomial count, so its quantiles are the bootstrap's
    limit for ever more resamples; nothing needs to be drawn.
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(binom.ppf(q, images, accuracy / 100)) for q in (tail, 1 - tail))
    return 100 * low / images, 100 * high / images
