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
        computed = _computed(home)
    shares = {what: seconds / (SLOTS * watched.wall) for what, seconds in parts(watched).items()}
    busy, spans = shares["training or evaluating"], _spans(watched)
    mean = sum(end - begin for begin, end in spans) / len(spans)
    spent = sum(watched.spent.values())
    running = busy / (busy + shares["between cells"])
    verdict = (
        f"{100 * busy:.1f}% of the slots' wall time is training or evaluation, with "
        f"{len(spans)} cells of {mean:.0f} s on average; target: at least {100 * TARGET:.0f}%: "
        f"{'met' if busy >= TARGET else 'MISSED'}.\n\n"
        f"Of the time from the first cell's start to the last one's end, waiting for the last cell "
        f"not counted: {100 * running:.1f}%. What is paid once a command is "
        f"{watched.wall * (1 - busy / running):.0f} s here."
    )
    rows = [
        (what, f"{share * watched.wall:.1f}", f"{100 * share:.1f}%")
        for what, share in shares.items()
    ]
    processes = [
        (who, f"{seconds:.1f}", f"{100 * seconds / spent:.1f}%")
        for who, seconds in watched.spent.items()
    ]
    note = (
        f"Cells computed for {computed:.0f} s of processor time in the {mean * len(spans):.0f} s "
        "of their spans, by their own clocks (the cheap accuracy of each epoch is not in them)."
    )
    keep(
        "busy_share",
        "Share of a study's time in which its slots train or evaluate",
        [
            verdict,
            table(("of the wall time of a slot", "seconds", "share"), rows),
            table(("processor time of", "seconds", "share"), processes),
            note,
            (__doc__ or "").strip().partition("\n\n")[2],
        ],
        {
            "target": TARGET,
            "share": busy,
            "share_while_running": running,
            "wall_seconds": watched.wall,
            "cells": len(spans),
            "mean_cell_seconds": mean,
            "computed_cpu_seconds": computed,
            "shares": shares,
            "cpu_seconds_by_process": watched.spent,
        },
        where,
    )


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
