"""``simclr-lab compare``: do two encoders differ on the same test images? (App. B.8)."""

import numpy as np
import torch
from numpy.typing import NDArray

from simclr_lab.cell import CellRecord
from simclr_lab.cli.data import require_dataset
from simclr_lab.cli.exits import Exit, leave, output
from simclr_lab.evaluation.metrics import correct
from simclr_lab.evaluation.significance import PERMUTATIONS, permutation_test
from simclr_lab.names import target_of
from simclr_lab.tracking.ledger import Ledger, LedgerUnavailable


def compare_cells(first: str, second: str, protocol: str) -> None:
    """Print both accuracies, where the cells disagree, and the permutation test's p-value."""
    ledger = Ledger()
    try:
        ledger.reachable()
        known = ledger.cells()
    except LedgerUnavailable as error:
        leave(Exit.UNFIT, str(error))
    records = [_record(known, key) for key in (first, second)]
    predicted = [_predictions(ledger, record, protocol) for record in records]
    datasets = {_judged_on(record, protocol) for record in records}
    if len(datasets) > 1:
        leave(Exit.BAD_INPUT, f"the cells were judged on {' and '.join(sorted(datasets))}")
    labels = torch.from_numpy(require_dataset(datasets.pop()).test_labels)
    right = [correct(torch.from_numpy(each), labels) for each in predicted]
    for record, hits in zip(records, right, strict=True):
        share = 100 * float(hits.double().mean())
        output.print(f"{record.key[:8]} seed {record.seed}  {share:.2f}% right", markup=False)
    a, b = right
    p = permutation_test(a, b, generator=np.random.default_rng(0))
    output.print(
        f"only the first is right on {int((a & ~b).sum())} of {len(labels)} images, only the second"
        f" on {int((b & ~a).sum())}\n"
        f"p = {p:.5f} (permutation test, {PERMUTATIONS:,} swaps of paired predictions)\n"
        "It speaks of these two encoders and these images, not of other seeds.",
        markup=False,
    )


def _record(known: dict[str, CellRecord], key: str) -> CellRecord:
    """The one record whose key begins so; exits 2 where there is none or more than one."""
    found = [record for name, record in known.items() if key and name.startswith(key)]
    if len(found) != 1:
        count = "no cell" if not found else f"{len(found)} cells"
        leave(Exit.BAD_INPUT, f"KEY is {key!r}, which names {count}; allowed: one cell's key")
    return found[0]


def _predictions(ledger: Ledger, record: CellRecord, protocol: str) -> NDArray[np.int16]:
    arrays = ledger.arrays(record.key)
    name = f"{protocol}/test_predictions"
    if name not in arrays:
        there = sorted(n.rsplit("/", 1)[0] for n in arrays if n.endswith("/test_predictions"))
        leave(
            Exit.BAD_INPUT,
            f"protocol is {protocol!r}, of which cell {record.key[:8]} keeps no predictions; "
            f"allowed: {', '.join(there) or 'none, it was judged before they were kept'}",
        )
    return arrays[name]


def _judged_on(record: CellRecord, protocol: str) -> str:
    named = target_of(protocol)
    return named[1] if named else str(record.recipe["data.dataset"])
