"""Studies of short cells on real images; each takes a few seconds undisturbed."""

from collections.abc import Callable
from pathlib import Path

from ray_commands import command

TINY = [
    "epochs=3",
    "data.pretrain_images=640",
    "evaluation.fit_images=500",
    "encoder.channels=8",
]
ABLATION = """
metric = "linear/test_top1"
seeds = [0]
references = false
[[grid]]
batch_size = [{batch}]
optimizer.learning_rate = [0.3]
loss.temperature = {temperatures}
"""
SWEEP = """
metric = "linear/val_top1"
trials = 3
[space]
loss.temperature = { min = 0.05, max = 1.0, scale = "log" }
projection.depth = { min = 0, max = 2 }
"""
ALONE, PAIR = 63, 64
"""Batches of cells on one worker and on two: 63 images cannot be cut in two."""


def ablation(folder: Path, name: str, batch: int, *temperatures: float) -> list[str]:
    """The command of a study of short cells."""
    path = folder / f"{name}.toml"
    path.write_text(ABLATION.format(batch=batch, temperatures=list(temperatures)))
    return command(path, "--workers", "2", tiny=TINY)


def sweep(folder: Path, name: str = "search") -> list[str]:
    """The command of a short sweep."""
    path = folder / f"{name}.toml"
    path.write_text(SWEEP)
    return command(path, tiny=[*TINY, "batch_size=64"])


def alone(folder: Path, *temperatures: float) -> list[str]:
    """Cells on one worker."""
    return ablation(folder, "alone", ALONE, *(temperatures or (0.1, 0.5)))


def four(folder: Path) -> list[str]:
    """Cells on one worker, more than there are slots; two of them are those of ``alone``."""
    return ablation(folder, "four", ALONE, 0.1, 0.5, 0.2, 1.0)


def pair(folder: Path) -> list[str]:
    """A cell on two workers, one on each node."""
    return ablation(folder, "pair", PAIR, 0.2)


STUDIES: dict[str, Callable[[Path], list[str]]] = {
    "alone": alone,
    "four": four,
    "pair": pair,
    "search": sweep,
}
