"""Names of evaluation protocols and of what they measure; pure text, below recipe and science."""

import re

PROTOCOLS = (
    "ridge",
    "linear",
    "linear_z",
    "linear_sgd",
    "knn",
    "classifier",
    "finetune_1pct",
    "finetune_10pct",
    "probe_color",
    "probe_rotation",
    "probe_noise",
    "probe_sobel",
    "spectrum",
    "tsne",
)
"""Protocols with a name of their own; ``transfer_DATASET`` ones are named after their dataset."""

_TRANSFER = re.compile(r"(transfer_finetune|transfer)_([a-z0-9][a-z0-9_-]*)")
_ACCURACIES = "(val|test)_top1"
_METRICS = re.compile(
    rf"ridge/val_top1|(linear|linear_z|linear_sgd|knn|classifier)/{_ACCURACIES}"
    rf"|finetune_(1|10)pct/(val|test)_top[15]|probe_(color|rotation|noise|sobel)/[hz]_val_top1"
    rf"|{_TRANSFER.pattern}/(val|test)_(top1|mean_per_class|map11)"
)


def target_of(protocol: str) -> tuple[str, str] | None:
    """(``transfer`` or ``transfer_finetune``, dataset) of a transfer protocol; None of others."""
    found = _TRANSFER.fullmatch(protocol)
    return (found[1], found[2]) if found else None


def is_protocol(name: str) -> bool:
    """Whether a recipe may ask for it."""
    return name in PROTOCOLS or target_of(name) is not None


def is_metric(name: str) -> bool:
    """Whether a study may name it: of each, more is better."""
    return _METRICS.fullmatch(name) is not None


METRIC_FORMS = (
    "ridge/val_top1; linear/val_top1 or linear/test_top1, and so of linear_z, linear_sgd, knn, "
    "classifier; "
    "finetune_1pct or finetune_10pct with top1 or top5; probe_*/h_val_top1 or z_val_top1; "
    "transfer_DATASET or transfer_finetune_DATASET with top1, mean_per_class or map11"
)
"""What ``is_metric`` allows, for messages."""
