"""The paper's published numbers, each with its source; ``value_kind`` says printed or measured.

``printed`` numbers stand in the paper; ``vector`` ones were recovered from a figure's coordinates.
"""

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).resolve().parents[1] / "paper"


def published(name: str) -> pd.DataFrame:
    """A file of ``analysis/paper`` by its stem. Raises KeyError with the names there are."""
    path = FOLDER / f"{name}.csv"
    if not path.exists():
        raise KeyError(f"{name!r}; allowed: {', '.join(sorted(p.stem for p in FOLDER.glob('*')))}")
    return pd.read_csv(path)
