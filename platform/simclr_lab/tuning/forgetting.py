"""Forgetting a study's trials: what Optuna keeps of it is deleted, other studies stay."""

from pathlib import Path

import optuna

from simclr_lab.tuning.optuna_study import open_storage


def forget_trials(storage: Path | str, name: str) -> bool:
    """Delete the study's Optuna study, and those of its arms; whether there was any.

    Args:
        storage: a journal file, or the URL of a database.
        name: of the study with its scale; arms follow it behind a colon.
    """
    if isinstance(storage, Path) and not storage.exists():
        return False
    opened = open_storage(storage)
    known = optuna.get_all_study_names(opened)
    own = [each for each in known if each == name or each.startswith(f"{name}: ")]
    for each in own:
        optuna.delete_study(study_name=each, storage=opened)
    return bool(own)
