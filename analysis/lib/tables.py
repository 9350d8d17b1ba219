"""Tables as text: numbers with their intervals, Markdown, and LaTeX for booktabs."""

import math
from collections.abc import Sequence

import pandas as pd

from analysis.lib.stats import Estimate

MISSING = "missing"
NONE = "-"
"""For what does not exist, as against what is missing."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "†": r"$\dagger$",
}


def number(value: float, digits: int = 1) -> str:
    """A number, or ``missing``: never a zero that nobody measured."""
    return MISSING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def with_interval(value: Estimate, digits: int = 1) -> str:
    """``45.1 ± 0.8`` with the t-interval's half width; without it for a single seed."""
    if math.isnan(value.low):
        return number(value.mean, digits)
    return f"{value.mean:.{digits}f} ± {value.high - value.mean:.{digits}f}"


def markdown(shown: pd.DataFrame) -> str:
    """A pipe table whose columns line up."""
    rows = [[str(name) for name in shown.columns]]
    rows += [[str(value).replace("|", "\\|") for value in row] for row in shown.to_numpy()]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in padded)


def latex(shown: pd.DataFrame, *, caption: str, notes: Sequence[str] = ()) -> str:
    """A ``table`` environment with the rules of the booktabs package."""
    escaped = shown.map(lambda cell: escape(str(cell))).rename(columns=escape)
    text = escaped.to_latex(index=False, caption=escape(caption), position="t")
    foot = f"\\par\\footnotesize {escape(' '.join(notes))}\n" if notes else ""
    return text.replace("\\end{table}", foot + "\\end{table}")


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in text)
