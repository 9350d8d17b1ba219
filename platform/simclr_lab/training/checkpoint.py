"""The one checkpoint store: ``<storage>/cells/<key>/<attempt>/``, written by rank 0, atomically.

While a cell is unfinished its folder holds the last checkpoint; afterwards only ``final.pt``: the
encoder, the head, the metric history and the evaluations. Every file loads with ``weights_only``.
"""

import hashlib
import os
import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simclr_lab.cell import EpochReport
from simclr_lab.training.attempts import CHECKPOINT, FINAL, WRITING, attempt_folder

FORMAT = 1
_UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError)


def history_to_plain(history: tuple[EpochReport, ...]) -> list[dict[str, Any]]:
    """Reports as dictionaries of plain types, for a ``weights_only`` file."""
    return [
        {
            "epoch": r.epoch,
            "step": r.step,
            "timestamp_ms": r.timestamp_ms,
            "metrics": dict(r.metrics),
        }
        for r in history
    ]


def history_from_plain(rows: list[dict[str, Any]]) -> tuple[EpochReport, ...]:
    """The inverse of ``history_to_plain``."""
    return tuple(EpochReport(**row) for row in rows)


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state dict: names in order, types, shapes and bytes, wherever it lies."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class CellStore:
    """One attempt's folder of one cell.

    A reader skips files that do not load: a torn or corrupt file costs the epochs in it, never the
    cell.
    """

    storage: Path
    key: str
    attempt: int = 0

    @property
    def folder(self) -> Path:
        """Where this attempt's files are."""
        return attempt_folder(self.storage, self.key, self.attempt)

    @property
    def final_path(self) -> Path:
        """The finished cell's only file."""
        return self.folder / FINAL

    def save_checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        """Write the state after ``step`` steps, then drop the older checkpoints."""
        path = self.folder / f"step-{step:09d}.pt"
        self._write(path, state)
        for other in self._checkpoints():
            if other != path:
                other.unlink(missing_ok=True)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read, or None."""
        for path in sorted(self._checkpoints(), reverse=True):
            state = self._read(path)
            if state is not None:
                return state
        return None

    def save_final(self, state: Mapping[str, Any]) -> None:
        """Write the finished cell, then drop its checkpoints."""
        self._write(self.final_path, state)
        for path in self._checkpoints():
            path.unlink(missing_ok=True)

    def load_final(self) -> dict[str, Any] | None:
        """The finished cell's state, or None where there is none that can be read."""
        return self._read(self.final_path) if self.final_path.exists() else None

    def _checkpoints(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [path for path in self.folder.iterdir() if CHECKPOINT.fullmatch(path.name)]

    def _write(self, path: Path, state: Mapping[str, Any]) -> None:
        """All of the file or nothing of it, also when the machine stops in between.

        Raises OSError where the disk is full or broken; torch itself only says that a position in
        the file is not the expected one.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=WRITING, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                torch.save({"format": FORMAT, "key": self.key, **state}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException as error:
            Path(name).unlink(missing_ok=True)
            if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        except _UNREADABLE:
            return None
        return state if state.get("format") == FORMAT and state.get("key") == self.key else None
