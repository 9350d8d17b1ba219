"""A study's cells from the ledger, ready to be counted: current method only, references apart."""

from dataclasses import dataclass

import pandas as pd

from simclr_lab.cell import Outcome, State
from simclr_lab.identity import METHOD_VERSION
from simclr_lab.tracking.ledger import Ledger

REFERENCES = ("raw pixels", "random encoder")
"""Arms without pretraining, in every ablation's table."""


class NoRecordsError(LookupError):
    """The ledger has no such study at this scale."""


@dataclass(frozen=True)
class Records:
    """A study at a scale.

    Args:
        study, scale: which.
        metric: what the study judges its arms by.
        arms: one row per cell of the arms; a cell that is missing or unfinished has no metrics.
        references: one row per cell without pretraining.
        outdated: cells that an older version of the method trained; they are in neither table.
    """

    study: str
    scale: str
    metric: str
    arms: pd.DataFrame
    references: pd.DataFrame
    outdated: int

    @property
    def finished(self) -> pd.DataFrame:
        """Cells of the arms that came to an end, with whatever outcome."""
        return self.arms[self.arms["state"] == State.FINISHED.value]


def read(study: str, scale: str) -> Records:
    """Raises NoRecordsError for a study that was never started at this scale.

    Raises LedgerUnavailable where the ledger does not answer.
    """
    ledger = Ledger()
    ledger.reachable()
    place = ledger.study(study, scale)
    if place is None:
        raise NoRecordsError(
            f"no study {study!r} at scale {scale!r} in {ledger.tracking_uri}; "
            f"run its file first: simclr-lab run search_spaces/.../{study}.toml --scale {scale}"
        )
    return split(ledger.runs(study, scale), study, scale, place.metric)


def split(runs: pd.DataFrame, study: str, scale: str, metric: str) -> Records:
    """Sort ``Ledger.runs`` of a study into arms, references and what is outdated.

    A metric counts only where its cell is finished: one that is still training, or was stopped,
    has numbers of an unfinished encoder.
    """
    columns = ["key", "seed", "arm", "state", "outcome", "run_id", "hardware", "method_version"]
    runs = runs.reindex(columns=list(dict.fromkeys([*runs.columns, *columns, metric])))
    version = runs["method_version"]
    outdated = version.notna() & (version != METHOD_VERSION)
    current = runs[~outdated].copy()
    measured = [name for name in current.columns if "/" in name]
    current.loc[current["state"] != State.FINISHED.value, measured] = float("nan")
    is_reference = current["arm"].isin(REFERENCES)
    return Records(
        study=study,
        scale=scale,
        metric=metric,
        arms=current[~is_reference],
        references=current[is_reference],
        outdated=int(outdated.sum()),
    )


def count(cells: pd.DataFrame) -> dict[str, int]:
    """Cells wanted, finished, and finished as diverged or collapsed."""
    return {
        "wanted": len(cells),
        "finished": int((cells["state"] == State.FINISHED.value).sum()),
        "diverged": int((cells["outcome"] == Outcome.DIVERGED.value).sum()),
        "collapsed": int((cells["outcome"] == Outcome.COLLAPSED.value).sum()),
    }
