"""An ablation's cells against the ledger: what ``run`` launches and ``status`` shows."""

from collections.abc import Mapping, Sequence

from simclr_lab.cell import CellRecord
from simclr_lab.cli.request import Checked
from simclr_lab.data.sources import dataset_digest
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.tracking.home import storage
from simclr_lab.training.attempts import newest_attempt
from simclr_lab.tuning.plan import PlannedCell, Replicate, plan_cells, reference_replicates


def plan_ablation(
    checked: Checked, study: Ablation, known: Mapping[str, CellRecord]
) -> list[PlannedCell]:
    """What is to be done about every arm with every seed, then the rows without pretraining."""
    arms = study.arms(checked.base, checked.request.scale)
    replicates = [Replicate(arm.label, seed, arm.recipe) for seed in checked.seeds for arm in arms]
    if study.references:
        base = study.base_at(checked.base, checked.request.scale)
        replicates += reference_replicates(base, checked.seeds)
    return planned(checked, replicates, known)


def planned(
    checked: Checked, replicates: Sequence[Replicate], known: Mapping[str, CellRecord]
) -> list[PlannedCell]:
    """What is to be done about replicates under the command line's options."""
    return plan_cells(
        replicates,
        known,
        data_digest=dataset_digest(checked.base.data.dataset),
        sizing=checked.sizing,
        retry_failed=checked.request.retry_failed,
        force=checked.request.force,
        newest_attempt=lambda key: newest_attempt(storage(), key),
    )
