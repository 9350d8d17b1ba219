"""Where this user's records are: one folder, or what the environment names."""

import os
from pathlib import Path


def home() -> Path:
    """``SIMCLR_LAB_HOME``, or ``~/.local/share/simclr-lab``."""
    given = os.environ.get("SIMCLR_LAB_HOME")
    return Path(given).resolve() if given else Path.home() / ".local" / "share" / "simclr-lab"


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or an sqlite file in the home."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def artifact_root() -> Path:
    """Artifacts of the embedded ledger; absolute, since MLflow's default follows the caller."""
    return home() / "artifacts"


def storage() -> Path:
    """Checkpoints and finished encoders."""
    return home() / "storage"


def journal() -> Path:
    """Optuna's journal of all sweeps."""
    return home() / "optuna.journal"


def sweeps() -> Path | str:
    """Where sweeps are kept: the database that ``SIMCLR_LAB_OPTUNA`` names, or the journal."""
    return os.environ.get("SIMCLR_LAB_OPTUNA") or journal()


def leases() -> Path:
    """Lock files."""
    return home() / "leases"
