"""An artefact and its files: Markdown, CSV, LaTeX, PNG, SVG, and JSON with the runs behind it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.lib.style import save
from analysis.lib.tables import latex, markdown


@dataclass(frozen=True)
class Artefact:
    """A table with its figure.

    Args:
        name: stem of its files.
        title: one line.
        numbers: every number unrounded, one row per arm, with its n, interval and run ids.
        shown: the same as text, as a person reads it.
        figure: drawn from ``numbers``.
        notes: sentences under the table.
        runs: arm -> ids of the runs behind its row.
        facts: study, scale and whatever else the JSON should carry.
    """

    name: str
    title: str
    numbers: pd.DataFrame
    shown: pd.DataFrame
    figure: Figure
    notes: Sequence[str] = ()
    runs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def write(artefact: Artefact, out: Path) -> list[Path]:
    """Write the artefact's six files into ``out``; their paths."""
    out.mkdir(parents=True, exist_ok=True)
    stem = out / artefact.name
    notes = "\n".join(f"- {note}" for note in artefact.notes)
    image = f"![{artefact.title}]({artefact.name}.png)"
    texts = {
        ".md": f"# {artefact.title}\n\n{markdown(artefact.shown)}\n\n{notes}\n\n{image}\n",
        ".csv": artefact.numbers.to_csv(index=False),
        ".tex": latex(artefact.shown, caption=artefact.title, notes=artefact.notes),
        ".json": json.dumps(_facts(artefact), indent=2, allow_nan=False) + "\n",
    }
    for ending, text in texts.items():
        stem.with_name(artefact.name + ending).write_text(text, encoding="utf-8")
    return [stem.with_name(artefact.name + ending) for ending in texts] + save(
        artefact.figure, stem
    )


def _facts(artefact: Artefact) -> dict[str, Any]:
    rows = json.loads(artefact.numbers.to_json(orient="records"))  # NaN becomes null
    return {
        "title": artefact.title,
        **artefact.facts,
        "notes": list(artefact.notes),
        "rows": rows,
        "runs": {arm: list(ids) for arm, ids in artefact.runs.items()},
    }
