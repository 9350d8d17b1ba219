"""Table 5: l2 normalisation and temperature, linear evaluation beside the contrastive task.

Ours is one row per arm with its mean over seeds and t-interval; the paper's numbers are one
ImageNet run each (ResNet-50, 100 epochs, batch 4,096).
"""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.lib.budget import budget_notes
from analysis.lib.paper import published
from analysis.lib.records import Records, count, read
from analysis.lib.report import Artefact
from analysis.lib.stats import Estimate, estimate
from analysis.lib.style import FAINT, OURS, PAPER, named_ticks, panels, style
from analysis.lib.tables import NONE, number, with_interval
from analysis.lib.verdict import separation_notes

STUDY = "temperature"
ACCURACY = "val/contrastive_accuracy"
ENTROPY = "val/contrastive_entropy"
TEMPERATURE, NORMALIZE = "loss.temperature", "loss.normalize"


def make(study: str, scale: str) -> Artefact:
    """The artefact from the ledger's records. Raises NoRecordsError."""
    records = read(study, scale)
    table = compute(records)
    return Artefact(
        name="table_5_temperature",
        title=f"Table 5: normalisation and temperature, scale {scale}",
        numbers=table,
        shown=show(table),
        figure=draw(table, records.metric),
        notes=notes(records, table),
        runs=dict(zip(table["arm"], table["run_ids"], strict=True)),
        facts={"study": study, "scale": scale, "metric": records.metric},
    )


def compute(records: Records) -> pd.DataFrame:
    """One row per arm, then one per reference; see the column names.

    ``n`` counts cells with a value, ``wanted`` the study's seeds; a diverged cell has no value and
    is counted in ``diverged``. NaN is what is missing.
    """
    rows = [
        _row(str(arm), cells, records.metric) | {"reference": is_reference}
        for is_reference, part in ((False, records.arms), (True, records.references))
        for arm, cells in part.groupby("arm", sort=False)
    ]
    table = pd.DataFrame(rows)
    table["temperature"] = table["temperature"].astype(float).mask(table["reference"])
    table["normalize"] = table["normalize"].fillna(value=True).astype(bool)  # the recipe's default
    paper = published("table5_temperature_norm")
    paper["normalize"] = paper["l2_norm"] == "Yes"
    paper = paper.rename(
        columns={
            "top1": "paper_top1",
            "entropy": "paper_entropy",
            "contrastive_acc": "paper_contrastive_accuracy",
        }
    )
    keep = ["normalize", "temperature", "paper_top1", "paper_entropy", "paper_contrastive_accuracy"]
    return table.merge(paper[keep], how="left", on=["normalize", "temperature"])


def _row(arm: str, cells: pd.DataFrame, metric: str) -> dict[str, Any]:
    top1 = estimate(cells[metric].dropna().tolist())
    return {
        "arm": arm,
        "temperature": _setting(cells, TEMPERATURE),
        "normalize": _setting(cells, NORMALIZE),
        "top1": top1.mean,
        "top1_low": top1.low,
        "top1_high": top1.high,
        "n": top1.n,
        **count(cells),
        "top1_by_seed": dict(zip(cells["seed"].tolist(), cells[metric].tolist(), strict=True)),
        "contrastive_accuracy": _mean(cells, ACCURACY),
        "contrastive_entropy": _mean(cells, ENTROPY),
        "mixed_hardware": cells["hardware"].nunique() > 1,
        "run_ids": cells["run_id"].dropna().tolist(),
    }


def _setting(cells: pd.DataFrame, name: str) -> Any:
    """The arm's value of a recipe field; None where no record of it tells."""
    known = cells[name].dropna().tolist() if name in cells else []
    return known[0] if known else None


def _mean(cells: pd.DataFrame, column: str) -> float:
    return estimate(cells[column].dropna().tolist()).mean if column in cells else math.nan


def show(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text; the paper's numbers stand beside ours."""
    return pd.DataFrame([_shown(row) for _, row in table.iterrows()])


def _shown(row: "pd.Series[Any]") -> dict[str, str]:
    mark = "†" if row["mixed_hardware"] else ""
    top1 = Estimate(row["top1"], row["top1_low"], row["top1_high"], row["n"])
    accuracy = {"top-1": with_interval(top1) + mark, "n": _seeds(row)}
    names = ("contr. acc.", "entropy", "paper top-1", "paper contr. acc.", "paper entropy")
    if row["reference"]:
        return {"l2 norm": row["arm"], "temperature": "", **accuracy} | dict.fromkeys(names, "")
    ours = [number(row[name]) for name in ("contrastive_accuracy", "contrastive_entropy")]
    paper = [_paper(row[f"paper_{name}"]) for name in ("top1", "contrastive_accuracy", "entropy")]
    return {
        "l2 norm": "yes" if row["normalize"] else "no",
        "temperature": f"{row['temperature']:g}",
        **accuracy,
        **dict(zip(names, [*ours, *paper], strict=True)),
    }


def _paper(value: float) -> str:
    """The paper's number; an arm that the paper has not is no missing cell."""
    return NONE if math.isnan(value) else f"{value:.1f}"


def _seeds(row: "pd.Series[Any]") -> str:
    text = f"{row['n']} of {row['wanted']}"
    lost = [f"{row[name]} {name}" for name in ("diverged", "collapsed") if row[name]]
    return f"{text} ({', '.join(lost)})" if lost else text


def notes(records: Records, table: pd.DataFrame) -> list[str]:
    """What the numbers are, whether the arms separate, and what the budget cannot show."""
    lines = [
        f"top-1: {records.metric} in percent, mean ± half the 95% t-interval over seeds; n: cells "
        "with a value of cells wanted. Contrastive accuracy (percent) and entropy (nats) are over "
        "4,096 validation images.",
        "Paper: ImageNet, ResNet-50, 100 epochs, one run per row; read shapes across, not numbers.",
    ]
    if table["mixed_hardware"].any():
        lines.append("† the row mixes kinds of hardware.")
    if records.outdated:
        lines.append(f"{records.outdated} cells of an older method version are left out.")
    return lines + separation_notes(records) + budget_notes(records)


def draw(table: pd.DataFrame, metric: str) -> Figure:
    """Accuracy over temperature: ours with every seed and its interval, the paper's beside it."""
    with style():
        figure, (ours, paper) = panels(2)
        _ours(ours, table)
        ours.set_ylabel(f"{metric} (%)")
        ours.set_title("ours")
        printed = published("table5_temperature_norm")
        for normalized, marker in (("Yes", "o"), ("No", "s")):
            part = printed[printed["l2_norm"] == normalized]
            label = "l2 norm" if normalized == "Yes" else "no norm"
            paper.plot(
                part["temperature"],
                part["top1"],
                marker + "-",
                color=PAPER,
                label=label,
                mfc=PAPER if normalized == "Yes" else "white",
            )
        named_ticks(ours, table["temperature"].dropna())
        named_ticks(paper, printed["temperature"])
        paper.set_title("paper: ImageNet, ResNet-50")
        paper.set_ylabel("top-1 (%)")
        for axes in (ours, paper):
            axes.set_xlabel("temperature")
            axes.legend(fontsize=7)
    return figure


def _ours(axes: Axes, table: pd.DataFrame) -> None:
    arms = table[~table["reference"]]
    for normalized, marker in ((True, "o"), (False, "s")):
        part = arms[(arms["normalize"] == normalized) & arms["top1"].notna()]
        if part.empty:
            continue
        part = part.sort_values("temperature")
        half = (part["top1_high"] - part["top1"]).fillna(0.0)
        label = "l2 norm, 95% interval" if normalized else "no norm, 95% interval"
        axes.errorbar(
            part["temperature"],
            part["top1"],
            yerr=half,
            fmt=marker + "-",
            color=OURS,
            capsize=3,
            mfc=OURS if normalized else "white",
            label=label,
        )
        for temperature, seeds in zip(part["temperature"], part["top1_by_seed"], strict=True):
            axes.plot(
                [temperature] * len(seeds), list(seeds.values()), ".", color="black", ms=4, zorder=5
            )
    ends = ((0, (1, 1)), (0, (4, 2)))
    for line, row in zip(ends, table[table["reference"]].to_dict("records"), strict=False):
        if not math.isnan(row["top1"]):
            axes.axhline(row["top1"], color=FAINT, ls=line, lw=1, label=row["arm"])
