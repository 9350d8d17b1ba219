"""In words: what a study of this size can and cannot show."""

import pandas as pd

from analysis.lib.records import Records
from analysis.lib.stats import estimate
from simclr_lab.recipe import DATASET_IMAGES

PAPER_IMAGES = 100 * 1_281_167
"""Images that one cell of the paper's ablations saw: 100 epochs of ImageNet (Sec. 2.2)."""


def budget_notes(records: Records) -> list[str]:
    """Sentences on how long a cell was trained, what it gained, and what follows."""
    finished = records.finished.dropna(subset=[records.metric])
    if finished.empty or "epochs" not in finished:
        return []
    seen = max(_images_seen(cell) for _, cell in finished.iterrows())
    lines = []
    if seen > 0:
        lines.append(
            f"Budget: a cell here saw {seen:,.0f} images, {seen / PAPER_IMAGES:.2g} of the paper's "
            f"{PAPER_IMAGES / 1e6:.0f} million."
        )
    lines += _gains(records, finished)
    lines.append(
        "Such a budget can show whether pretraining beats those references, and effects larger "
        "than the difference named above. It cannot rank arms that are closer, nor say which is "
        "best after long training: the paper itself finds other temperatures best at other lengths "
        "(Fig. B.8)."
    )
    return lines


def _images_seen(cell: pd.Series) -> float:
    """Epochs times images; "all" means every image of the split."""
    images = cell["data.pretrain_images"]
    if images == "all":
        images = DATASET_IMAGES[cell["data.dataset"]][cell["data.pretrain_split"]]
    return float(cell["epochs"]) * float(images)


def _gains(records: Records, finished: pd.DataFrame) -> list[str]:
    ours = estimate(finished[records.metric].tolist())
    lines = []
    for arm, cells in records.references.groupby("arm", sort=False):
        values = cells[records.metric].dropna().tolist()
        if values:
            gain = ours.mean - estimate(values).mean
            side = "above" if gain >= 0 else "below"
            lines.append(f"The mean of all arms lies {abs(gain):.1f} points {side} {arm}.")
    return lines
