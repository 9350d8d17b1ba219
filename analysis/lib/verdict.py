"""In words: do the arms separate, given the spread of the seeds?"""

from analysis.lib.records import Records
from analysis.lib.stats import Separation, separation

SHOWN_PAIRS = 3


def separation_notes(records: Records) -> list[str]:
    """Sentences on which arms differ by more than their seeds' spread explains."""
    finished = records.finished
    found = separation(finished.dropna(subset=[records.metric]), records.metric)
    lost = int(finished[records.metric].isna().sum())
    unfinished = len(records.arms) - len(finished)
    lines = []
    if unfinished:
        lines.append(f"{unfinished} of {len(records.arms)} cells are missing or unfinished.")
    if lost:
        lines.append(f"{lost} finished cells have no accuracy (diverged); no mean includes them.")
    if found is None:
        return [*lines, "Do the arms separate? Unknown: it takes two arms with two shared seeds."]
    if found.left_out:
        lines.append(f"Not compared, for lack of a seed: {', '.join(found.left_out)}.")
    return [*lines, _verdict(found)]


def _verdict(found: Separation) -> str:
    spread = (
        f"Cells vary by {found.spread:.2f} points beside arm and seed ({found.degrees} degrees of "
        f"freedom, {len(found.seeds)} shared seeds), so two arms separate at 95% when they differ "
        f"by more than {found.smallest:.1f} points"
    )
    separate, total = found.separate, len(found.pairs)
    high, low, difference = found.pairs[0]
    if not separate:
        return (
            f"Do the arms separate? No. {spread}; the largest difference is {difference:.1f} "
            f"({high} over {low})."
        )
    shown = "; ".join(f"{a} over {b} by {d:.1f}" for a, b, d in separate[:SHOWN_PAIRS])
    more = f" and {len(separate) - SHOWN_PAIRS} more" if len(separate) > SHOWN_PAIRS else ""
    how = "Yes, all of them" if len(separate) == total else f"{len(separate)} of {total} pairs do"
    return f"Do the arms separate? {how}. {spread}: {shown}{more}."
