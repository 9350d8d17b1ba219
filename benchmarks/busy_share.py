"""How much of a study's time its slots train or evaluate, and where the rest goes.

Cells of about a minute on one worker each, on two cores. A slot is busy from a cell's first event
(its model is built, training begins) to its last (evaluated and safe). The rest, by the lines that
the command prints: before Ray (imports, ledger, plan, dataset), until the first cell (Ray, the
first processes and their imports), between cells, waiting for the other slot's last cell, and the
end (Ray's shutdown, the flush of the ledger).

Neighbours on the machine stretch wall time; the shares of processor time, by process, are told
beside it. A cell's own costs, from the ledger, say how much of its span was computed.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.lib.results import keep, machine, table
from benchmarks.lib.watching import Watched, simclr_lab, watch
from simclr_lab.tracking.ledger import Ledger

TARGET = 0.95
SLOTS = 2
STUDY = """
metric = "linear/test_top1"
seeds = [0]
references = false
"""
ENDS = ("finished", "failed")


def main() -> None:
    """Run one study and print where the time of its slots went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    options, where = parser.parse_args(), machine()
    with tempfile.TemporaryDirectory(prefix="busy-") as folder:
        home, study = Path(folder) / "home", Path(folder) / "busy.toml"
        study.write_text(STUDY)
        settings = [part for setting in options.settings for part in ("--set", setting)]
        seeds = f"0..{options.cells - 1}"
        command = simclr_lab("run", str(study), "--scale", "demo", "--seeds", seeds, *settings)
        watched = watch(command, home)
        numbers = summary(watched) | {"computed_cpu_seconds": _computed(home)}
    title = "Share of a study's time in which its slots train or evaluate"
    about = (__doc__ or "").strip().partition("\n\n")[2]
    keep("busy_share", title, [*_page(numbers), about], numbers, where)


def summary(watched: Watched) -> dict[str, Any]:
    """The shares of the slots' wall time, and of the command's processor time."""
    seconds, spans = parts(watched), _spans(watched)
    busy = seconds["training or evaluating"]
    return {
        "target": TARGET,
        "share": busy / (SLOTS * watched.wall),
        "share_while_running": busy / (busy + seconds["between cells"]),
        "wall_seconds": watched.wall,
        "cells": len(spans),
        "mean_cell_seconds": busy / len(spans),
        "slot_seconds": seconds,
        "cpu_seconds_by_process": watched.spent,
    }


def _page(numbers: dict[str, Any]) -> list[str]:
    share, wall, cells = numbers["share"], numbers["wall_seconds"], numbers["cells"]
    once = wall * (1 - share / numbers["share_while_running"])
    verdict = (
        f"{100 * share:.1f}% of the slots' wall time is training or evaluation, with {cells} cells "
        f"of {numbers['mean_cell_seconds']:.0f} s on average. Target: at least "
        f"{100 * TARGET:.0f}%: {'met' if share >= TARGET else 'MISSED'}.\n\n"
        f"Once cells run, {100 * numbers['share_while_running']:.1f}%: what lies between two cells "
        f"of a slot is the rest. What is paid once a command takes {once:.0f} s of {wall:.0f} s."
    )
    slots = [
        (what, f"{seconds / SLOTS:.1f}", f"{100 * seconds / (SLOTS * wall):.1f}%")
        for what, seconds in numbers["slot_seconds"].items()
    ]
    spent = numbers["cpu_seconds_by_process"]
    processes = [
        (who, f"{seconds:.1f}", f"{100 * seconds / sum(spent.values()):.1f}%")
        for who, seconds in spent.items()
    ]
    computed = (
        f"By their own clocks the cells computed for {numbers['computed_cpu_seconds']:.0f} s of "
        f"processor time in the {cells * numbers['mean_cell_seconds']:.0f} s of their spans (the "
        "cheap accuracy after each epoch is not on those clocks)."
    )
    return [
        verdict,
        table(("wall time of a slot", "seconds", "share"), slots),
        table(("processor time of", "seconds", "share"), processes),
        computed,
    ]


def parts(watched: Watched) -> dict[str, float]:
    """Seconds of all slots, by what they were spent on; they add up to slots times wall time."""
    spans = _spans(watched)
    launched = next(m.wall for m in watched.moments if m.text.startswith("log: "))
    free = [launched] * SLOTS
    busy = first = between = 0.0
    for begin, end in spans:  # in the order of their starts: the slot that is free longest
        slot = free.index(min(free))
        waited = begin - free[slot]
        first, between = (
            (first + waited, between) if free[slot] == launched else (first, between + waited)
        )
        busy, free[slot] = busy + end - begin, end
    last = max(free)
    return {
        "training or evaluating": busy,
        "before Ray": SLOTS * launched,
        "until the first cell": first,
        "between cells": between,
        "for the other's last cell": sum(last - each for each in free),
        "the end": SLOTS * (watched.wall - last),
    }


def _spans(watched: Watched) -> Sequence[tuple[float, float]]:
    """(start, end) of every cell, in the order of their starts."""
    ends = {moment.key: moment.wall for moment in watched.moments if moment.what in ENDS}
    return [(moment.wall, ends[moment.key]) for moment in watched.events("started")]


def _computed(home: Path) -> float:
    """Processor seconds of training and evaluation that the cells measured themselves."""
    with patch.dict(os.environ, {"SIMCLR_LAB_HOME": str(home)}):
        ledger = Ledger()
        rows = [row for record in ledger.cells().values() for row in ledger.metric_rows(record)]
    costs = ("cost/pretraining_cpu_seconds", "cost/evaluation_cpu_seconds")
    return sum(float(row["value"]) for row in rows if row["metric"] in costs)


if __name__ == "__main__":
    main()
