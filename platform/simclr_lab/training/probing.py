"""Asking ``training.probe`` about a recipe, once a shape; and what would fit if it does not.

Nothing here computes: the child process does, and what it found is kept in a file.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from simclr_lab.recipe import Recipe

DEADLINE_SECONDS = 180.0
_SHAPE = (
    *("batch_size", "data.image_size"),
    *("encoder.kind", "encoder.depth", "encoder.width", "encoder.channels", "encoder.stem"),
    *("batch_norm.group_images", "optimizer.name"),
    *("compute.precision", "compute.channels_last"),
    *("compute.micro_batch_size", "compute.activation_checkpointing"),
)
"""What throughput and memory depend on most."""

Shape = tuple[str, ...]


def shape_of(recipe: Mapping[str, Any], workers: int) -> Shape:
    """The shape of a recipe's flat fields on so many workers; absent ones have their default."""
    given = Recipe().flat() | dict(recipe)
    return (*(f"{name}={given[name]}" for name in _SHAPE), f"workers={workers}")


@dataclass(frozen=True)
class Probed:
    """What a probe found out about one worker's step.

    ``memory_bytes`` is None where memory ended before it was known; ``limit_bytes`` is what the
    worker may use; ``problem`` says why nothing is known.
    """

    seconds_per_step: float | None = None
    memory_bytes: int | None = None
    limit_bytes: int | None = None
    out_of_memory: bool = False
    problem: str = ""

    def under(self, limit_bytes: int | None) -> "Probed | None":
        """The same under another limit; None where it has to be measured again."""
        if self.problem:
            return None
        if limit_bytes is None or limit_bytes == self.limit_bytes:
            return self
        if self.memory_bytes is not None:
            over = self.memory_bytes > limit_bytes
            return replace(self, limit_bytes=limit_bytes, out_of_memory=over)
        known = self.limit_bytes is not None and limit_bytes <= self.limit_bytes
        return replace(self, limit_bytes=limit_bytes) if known else None


def probe(recipe: Recipe, workers: int, limit_bytes: int | None) -> Probed:
    """Measure in a child process, which the kernel may kill without harm."""
    asked = {
        "recipe": json.loads(recipe.model_dump_json()),
        "workers": workers,
        "limit_bytes": limit_bytes,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "simclr_lab.training.probe"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Probed(problem=f"a few steps took longer than {DEADLINE_SECONDS:.0f} seconds")
    return read_answer(done.returncode, done.stdout, done.stderr, limit_bytes)


def read_answer(code: int, answer: str, log: str, limit_bytes: int | None) -> Probed:
    """What a child that ended with ``code`` has found."""
    if code in (-signal.SIGKILL, -signal.SIGABRT):  # by the kernel, or by a failed allocation
        return Probed(limit_bytes=limit_bytes, out_of_memory=True)
    if code:
        lines = log.strip().splitlines() or [f"exit code {code}"]
        return Probed(problem=f"the probe failed: {lines[-1]}")
    found = Probed(**json.loads(answer.splitlines()[-1]))
    limit, held = found.limit_bytes, found.memory_bytes
    return replace(found, out_of_memory=True) if limit and held and held > limit else found


@dataclass
class Prober:
    """Probes each shape once, and remembers it from launch to launch.

    Args:
        file: where answers are kept, as JSON.
        where: hardware and versions; answers hold for these alone.
        limit_bytes: what one worker may use; None: what its device has.
        tell: is told in a line what is being probed.
        ask: the probe itself.
    """

    file: Path
    where: str
    limit_bytes: int | None
    tell: Callable[[str], None]
    ask: Callable[[Recipe, int, int | None], Probed] = probe
    _known: dict[str, Probed] = field(init=False)

    def __post_init__(self) -> None:
        self._known = _read(self.file)

    def __call__(self, recipe: Recipe, workers: int) -> Probed:
        """What is known of the recipe's shape, else what a probe says now."""
        known = self.known(recipe, workers)
        if known is not None:
            return known
        self.tell(f"probing {in_words(recipe, workers)}")
        found = self.ask(recipe, workers, self.limit_bytes)
        if not found.problem:
            self._known[self._key(recipe, workers)] = found
            _write(self.file, self._known)
        return found

    def known(self, recipe: Recipe, workers: int) -> Probed | None:
        """What an earlier probe of this shape says under today's limit."""
        found = self._known.get(self._key(recipe, workers))
        return found.under(self.limit_bytes) if found else None

    def _key(self, recipe: Recipe, workers: int) -> str:
        text = json.dumps([self.where, *shape_of(recipe.flat(), workers)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def what_fits(
    recipe: Recipe, workers: int, ask: Callable[[Recipe, int], Probed]
) -> tuple[dict[str, Any], Probed] | None:
    """The settings with which a recipe that does not fit would fit, and what they cost.

    The largest micro-batch by halving; where there is none, activation checkpointing. Neither
    changes a result. None where nothing fits.
    """
    for changes in _savings(recipe, workers):
        found = ask(recipe.with_fields(changes), workers)
        if found.memory_bytes is not None and not found.out_of_memory:
            return changes, found
    return None


def _savings(recipe: Recipe, workers: int) -> Iterator[dict[str, Any]]:
    """Changes that save memory, the cheapest first."""
    micro, checkpointing = "compute.micro_batch_size", "compute.activation_checkpointing"
    sizes = list(micro_batches(recipe, workers))
    yield from ({micro: size} for size in sizes)
    if not recipe.compute.activation_checkpointing:
        yield {checkpointing: True}
        if sizes:
            yield {micro: sizes[-1], checkpointing: True}


def micro_batches(recipe: Recipe, workers: int) -> Iterator[int]:
    """Smaller micro-batches of a worker's images that hold whole groups of batch norm, by halving.

    Yields none where norms are over more than a worker's images can be cut into.
    """
    local, group = recipe.batch_size // workers, recipe.batch_norm.group_images
    if group == "whole" or group >= local:
        return
    now = recipe.compute.micro_batch_size
    size = (local if now == "whole" else now) // 2
    while size >= group:
        if local % size == 0 and size % group == 0:
            yield size
        size //= 2


def in_words(recipe: Recipe, workers: int) -> str:
    """A recipe's shape as a person says it."""
    encoder, compute = recipe.encoder, recipe.compute
    width = f" x {encoder.width}" if encoder.width > 1 else ""
    parts = [
        f"ResNet-{encoder.depth}{width} of {encoder.channels} channels",
        f"batch {recipe.batch_size}" + (f" on {workers} workers" if workers > 1 else ""),
        f"{recipe.data.image_size} pixels",
        compute.precision,
    ]
    if compute.micro_batch_size != "whole":
        parts.append(f"micro-batches of {compute.micro_batch_size}")
    parts += ["activation checkpointing"] if compute.activation_checkpointing else []
    return ", ".join(parts)


def _read(file: Path) -> dict[str, Probed]:
    """The kept answers; rubbish counts as none."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {key: Probed(**answer) for key, answer in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(file: Path, known: Mapping[str, Probed]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    writing = file.with_suffix(f".{os.getpid()}.tmp")
    writing.write_text(json.dumps({key: asdict(value) for key, value in known.items()}, indent=1))
    os.replace(writing, file)
