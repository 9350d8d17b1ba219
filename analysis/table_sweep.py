"""A sweep's trials, best first, and how the metric lies over each searched field."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.lib.records import NoRecordsError, Records, count, read
from analysis.lib.report import Artefact
from analysis.lib.style import FAINT, OURS, PAPER, log_axis, named_ticks, panels, style
from analysis.lib.tables import NONE, number
from simclr_lab.spaces.tree import parse_assignment

STUDY = "main"
_BY_RATIO = {"batch_size", "optimizer.learning_rate", "loss.temperature"}
"""Fields whose effect goes by ratio: drawn on a log axis."""

_FEW = 4
"""Values of a field that can all be named on its axis."""


def make(study: str, scale: str) -> Artefact:
    """The artefact from the ledger's records. Raises NoRecordsError."""
    records = read(study, scale)
    fields = searched_fields(records)
    table = compute(records, fields)
    return Artefact(
        name=f"table_sweep_{study}",
        title=f"Sweep {study}: {records.metric}, scale {scale}",
        numbers=table,
        shown=show(table, fields, records.metric),
        figure=draw(table, fields, records.metric),
        notes=notes(records),
        runs=dict(zip(table["key"], [[run] for run in table["run_id"].fillna("")], strict=True)),
        facts={"study": study, "scale": scale, "metric": records.metric},
    )


def searched_fields(records: Records) -> list[str]:
    """The dotted fields that the trials' arms name, in their order.

    Raises NoRecordsError for a study whose cells name none.
    """
    named = [arm for arm in records.arms["arm"] if "=" in arm]
    if not named:
        raise NoRecordsError(f"no cell of study {records.study!r} names a searched field yet")
    return list(dict.fromkeys(name for arm in named for name in parse_assignment(arm)))


def compute(records: Records, fields: Sequence[str]) -> pd.DataFrame:
    """One row per cell: key, seed, state, outcome, the searched fields, the metric; best first.

    A diverged cell has no metric and stands below the others, as does what is missing.
    """
    columns = ["key", "seed", "state", "outcome", *fields, records.metric, "run_id"]
    table = records.arms.reindex(columns=columns)
    return table.sort_values(records.metric, ascending=False, na_position="last", ignore_index=True)


def show(table: pd.DataFrame, fields: Sequence[str], metric: str) -> pd.DataFrame:
    """The table as text."""
    rows = []
    for place, row in enumerate(table.to_dict("records"), start=1):
        settings = {name: _plain(row[name]) for name in fields}
        rank = {"rank": str(place) if not math.isnan(row[metric]) else NONE}
        outcome = row["outcome"] if isinstance(row["outcome"], str) else row["state"]
        cell = {"cell": row["key"][:8], "seed": str(row["seed"]), "outcome": outcome}
        rows.append(rank | {metric: number(row[metric])} | settings | cell)
    return pd.DataFrame(rows)


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def notes(records: Records) -> list[str]:
    """What was run, and what a search does and does not say."""
    counts = count(records.arms)
    lines = [
        f"{counts['finished']} of {counts['wanted']} proposed cells are finished, "
        f"{counts['diverged']} of them diverged, {counts['collapsed']} collapsed.",
        f"{records.metric} in percent, on validation; every proposal was trained once, with one "
        "seed, so neighbours in this ranking may change places with another seed. The best of many "
        "is also the luckiest: its accuracy is an optimistic estimate.",
    ]
    if records.outdated:
        lines.append(f"{records.outdated} cells of an older method version are left out.")
    return lines


def draw(table: pd.DataFrame, fields: Sequence[str], metric: str) -> Figure:
    """The metric over each searched field; the best trial stands out."""
    with style():
        figure, axes = panels(len(fields), width=2.6, height=2.6, share_y=True)
        for panel, name in zip(axes, fields, strict=True):
            _panel(panel, table, name, metric)
        axes[0].set_ylabel(f"{metric} (%)")
    return figure


def _panel(axes: Axes, table: pd.DataFrame, name: str, metric: str) -> None:
    known = table[table[metric].notna()]
    axes.plot(known[name], known[metric], "o", color=OURS, ms=4)
    axes.plot(known[name].head(1), known[metric].head(1), "o", color=PAPER, ms=7)
    lost = table[table[metric].isna() & table[name].notna()]
    for value in lost[name]:
        axes.axvline(value, color=FAINT, lw=0.8, ls=":")
    if known[name].nunique() <= _FEW and name in _BY_RATIO:
        named_ticks(axes, known[name])
    elif name in _BY_RATIO:
        log_axis(axes)
    axes.set_xlabel(name)
