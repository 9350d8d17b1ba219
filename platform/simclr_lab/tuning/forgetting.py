"""Forgetting a sweep's trials: its study is deleted in Optuna's journal, the others stay."""

from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend


def forget_sweep(journal: Path, name: str) -> bool:
    """Delete the Optuna study; whether there was one."""
    if not journal.exists():
        return False
    storage = JournalStorage(JournalFileBackend(str(journal)))
    if name not in optuna.get_all_study_names(storage):
        return False
    optuna.delete_study(study_name=name, storage=storage)
    return True
