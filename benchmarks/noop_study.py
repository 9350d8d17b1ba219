"""What the platform itself costs: studies of 100 and of 1,000 cells that have nothing to compute.

Every cell's encoder is in the store already while the ledger knows nothing of it, as after a lost
ledger. So every cell goes the whole way, unchanged: plan, lease, Ray Tune, a process, the cell's
file, events, the ledger with its params, tags, metrics and artifacts. Only training is missing.

Counted are the processor seconds of the driver (the process of the command with all its threads,
without its children: Ray's own processes and those of the cells), and its peak memory.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.lib.results import keep, machine, table
from benchmarks.lib.watching import Moment, Watched, simclr_lab, watch
from simclr_lab.cli.request import Request, check
from simclr_lab.data.sources import dataset_digest
from simclr_lab.identity import cell_key
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.training.checkpoint import CellStore

TARGET_SECONDS = 0.1
SIZES = (100, 1000)
SETTINGS = (
    'evaluation.protocols=["ridge"]',
    "epochs=0",
    "encoder.channels=8",
    "evaluation.fit_images=500",
    "data.pretrain_images=640",
)
STUDY = """
metric = "ridge/val_top1"
seeds = [0]
references = false
"""


def main() -> None:
    """Run the studies and print what they cost per cell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs=2, default=SIZES)
    sizes, where = parser.parse_args().cells, machine()
    few, many = (summary(cells, run(cells)) for cells in sizes)
    further = (many["cpu_seconds"] - few["cpu_seconds"]) / (many["cells"] - few["cells"])
    first, last = many["cpu_seconds_by_third"]
    worst = max(further, many["cpu_seconds"] / many["cells"])
    verdict = (
        f"A cell of {many['cells']:,} costs the driver {_ms(many['cpu_seconds'] / many['cells'])} "
        f"of processor time, everything counted, and every further cell {_ms(further)}. Target: at "
        f"most {_ms(TARGET_SECONDS)}: {'met' if worst <= TARGET_SECONDS else 'MISSED'}.\n\n"
        f"Linear? A cell of the last third costs {last / first:.2f} times one of the first "
        f"third ({_ms(last)} and {_ms(first)})."
    )
    header = ("cells", "driver, s", "all, per cell", "peak memory, MiB", "wall, s")
    rows = [
        (
            f"{study['cells']:,}",
            f"{study['cpu_seconds']:.1f}",
            _ms(study["cpu_seconds"] / study["cells"]),
            f"{study['peak_memory'] / 2**20:,.0f}",
            f"{study['wall_seconds']:.0f}",
        )
        for study in (few, many)
    ]
    keep(
        "noop_study",
        "Driver cost of a study that computes nothing",
        [verdict, table(header, rows), (__doc__ or "").strip().partition("\n\n")[2]],
        {"target_seconds": TARGET_SECONDS, "further_cell_seconds": further, "studies": [few, many]},
        where,
    )


def summary(cells: int, watched: Watched) -> dict[str, Any]:
    """What one study cost: in all, and from one end of a cell to the next early and late in it."""
    ends = watched.events("finished")
    third = len(ends) // 3
    return {
        "cells": cells,
        "cpu_seconds": watched.cpu,
        "cpu_seconds_by_third": [_per_cell(ends[: third + 1]), _per_cell(ends[-third - 1 :])],
        "peak_memory": watched.peak_memory,
        "wall_seconds": watched.wall,
        "cpu_seconds_by_process": watched.spent,
    }


def _per_cell(ends: Sequence[Moment]) -> float:
    return (ends[-1].cpu - ends[0].cpu) / (len(ends) - 1)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def run(cells: int) -> Watched:
    """One study in a fresh home."""
    with tempfile.TemporaryDirectory(prefix="noop-") as folder:
        home, study = Path(folder) / "home", Path(folder) / "noop.toml"
        study.write_text(STUDY)
        watch(_command(study, "0..0"), home)
        prepare(study, home / "storage", cells)
        return watch(_command(study, f"1..{cells}"), home)


def prepare(study: Path, storage: Path, cells: int) -> None:
    """Put the encoder of seed 0 into the store under the keys of the other seeds."""
    (path,) = storage.glob("cells/*/0/final.pt")
    state = torch.load(path, weights_only=True)
    checked = check(Request(study, "demo", SETTINGS))
    assert isinstance(checked.study, Ablation)
    (arm,) = checked.study.arms(checked.base, "demo")
    digest = dataset_digest("cifar10")
    for seed in range(1, cells + 1):
        key = cell_key(arm.recipe, seed, digest)
        CellStore(storage, key).save_final(state | {"key": key, "seed": seed})


def _command(study: Path, seeds: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return simclr_lab("run", str(study), "--scale", "demo", "--seeds", seeds, *settings)


if __name__ == "__main__":
    main()
