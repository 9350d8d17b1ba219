"""Forgetting cells and studies: records first, then files, so that a kill leaves only rubbish."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simclr_lab.cell import StudyRecord
from simclr_lab.tracking import schema
from simclr_lab.tracking.lease import Lease, LeaseHeld
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.training.attempts import size


@dataclass(frozen=True)
class Forgetting:
    """What is to be forgotten.

    ``kept`` are cells of the study that other studies list; ``listed`` maps a key that goes to the
    names of studies that list it and will run it again.
    """

    keys: tuple[str, ...]
    kept: tuple[str, ...]
    listed: dict[str, list[str]]
    bytes: int


def plan_forgetting(
    studies: Iterable[StudyRecord],
    storage: Path,
    *,
    study: StudyRecord | None = None,
    key: str | None = None,
    force: bool = False,
) -> Forgetting:
    """A cell by its key, or a study's cells: all of them, or those that no other study lists.

    Args:
        studies: every study of the ledger.
        storage: where the cells' files are.
        study: forget this study...
        key: ...or this cell, whoever lists it.
        force: with a study, forget its shared cells too.
    """
    others: dict[str, list[str]] = {}
    for other in studies:
        if study is None or (other.study, other.scale) != (study.study, study.scale):
            for cell in other.cells:
                others.setdefault(cell.key, []).append(f"{other.study} at {other.scale}")
    wanted = [key] if key is not None else [cell.key for cell in study.cells] if study else []
    keep = study is not None and not force
    going = tuple(k for k in wanted if not (keep and k in others))
    return Forgetting(
        keys=going,
        kept=tuple(k for k in wanted if k not in going),
        listed={k: others[k] for k in going if k in others},
        bytes=sum(size(folder) for k in going if (folder := storage / "cells" / k).exists()),
    )


def refuse_running(keys: Sequence[str]) -> None:
    """Raises LeaseHeld if somebody runs one of the cells."""
    for key in keys:
        with Lease(f"cell-{key}"):
            pass


def forget_cell(ledger: Ledger, key: str, storage: Path) -> None:
    """Remove a cell's runs, files and lease. Raises LeaseHeld if somebody runs it."""
    lease = Lease(f"cell-{key}")
    if not lease.acquire():
        raise LeaseHeld(f"cell {key} is running: {lease.owner() or 'owner unknown'}")
    ledger.runs_client.delete({schema.TAG_KIND: schema.KIND_CELL, schema.TAG_KEY: key})
    shutil.rmtree(storage / "cells" / key, ignore_errors=True)
    lease.forget()


def forget_study(ledger: Ledger, study: StudyRecord) -> None:
    """Remove a study's parent run; its cells are forgotten before, so that a kill loses no list."""
    ledger.runs_client.delete(
        {
            schema.TAG_KIND: schema.KIND_STUDY,
            schema.TAG_STUDY: study.study,
            schema.TAG_SCALE: study.scale,
        }
    )
