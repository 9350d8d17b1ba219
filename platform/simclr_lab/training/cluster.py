"""Connecting to Ray: a private cluster on this machine, or the one this process belongs to."""

import os
from pathlib import Path
from typing import Any

import ray

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: study files and analysis are part of the product."""

SLOT = "cell_slot"
"""Admission ticket: one per device (GPU, else CPU) of a node; a cell holds one per worker."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # workers without a GPU see what the driver sees
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a finished group is noticed at once
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "120",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupt ends the study here, not inside Tune
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # snapshots of all trials grow; nothing restores from them
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # reasons are in the ledger
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "RAY_AIR_NEW_OUTPUT": "1",
}


def connect(cpus: int | None = None) -> None:
    """Start a private Ray on this machine, or join the cluster that ``RAY_ADDRESS`` names.

    Args:
        cpus: processors to use on this machine; default all of them.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level="ERROR", runtime_env=runtime_env())
        return
    count = cpus or os.cpu_count() or 1
    ray.init(
        address="local",
        num_cpus=count,
        resources={SLOT: float(count)},
        include_dashboard=bool(os.environ.get("SIMCLR_LAB_RAY_DASHBOARD")),
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=512 * 2**20,
    )


def slots() -> int:
    """Cells of one worker that the cluster can run at once."""
    return int(ray.cluster_resources().get(SLOT, 0))


def runtime_env() -> dict[str, Any]:
    """What travels to the nodes of a cluster: the checkout and the package."""
    package = ROOT / "platform" / "simclr_lab"
    return {"working_dir": str(ROOT), "py_modules": [str(package)]}


def disconnect() -> None:
    """Leave the cluster; a private one ends with this."""
    ray.shutdown()
