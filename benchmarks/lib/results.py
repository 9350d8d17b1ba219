"""What was measured, kept: numbers as JSON, and a page with the machine and the command."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from simclr_lab.tracking.provenance import git, hardware

RESULTS = Path(__file__).resolve().parents[1] / "results"
Rows = Sequence[Sequence[str]]


def machine() -> dict[str, str]:
    """Where and on what it was measured, and how busy the machine was beforehand."""
    load = ", ".join(f"{value:.1f}" for value in psutil.getloadavg())
    return {
        "hardware": hardware(),
        "load before (1, 5, 15 min)": load,
        "commit": git("rev-parse", "--short", "HEAD") or "unknown",
        "measured": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": " ".join(
            ["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]
        ),
    }


def table(header: Sequence[str], rows: Rows) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def keep(
    name: str,
    title: str,
    parts: Sequence[str],
    numbers: Mapping[str, Any],
    where: Mapping[str, str],
) -> None:
    """Print the page, and write it with its numbers to ``results/<name>.{md,json}``."""
    about = table(("machine", ""), [(what, value) for what, value in where.items()])
    page = "\n\n".join([f"# {title}", *parts, about]) + "\n"
    print(page)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(page)
    text = json.dumps({"machine": where, **numbers}, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n")
