"""Connecting to Ray: a private cluster on this machine, or the one this process belongs to."""

import os
import socket
from pathlib import Path
from typing import Any

import ray
import torch

from simclr_lab.training.capacity import SLOT, Capacity, ClusterUnfit, capacity_of, node_slots

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: study files and analysis are part of the product."""

_ANSWER_SECONDS = 10.0

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # workers without a GPU see what the driver sees
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a finished group is noticed at once
    # A group may wait for whole GPUs that fractions hold; the watchdog names a stand-still.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "86400",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupt ends the study here, not inside Tune
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # snapshots of all trials grow; nothing restores from them
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # reasons are in the ledger
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "RAY_AIR_NEW_OUTPUT": "1",
}


def connect(cpus: int | None = None, gpus: int | None = None) -> None:
    """Start a private Ray on this machine, or join the cluster that ``RAY_ADDRESS`` names.

    Args:
        cpus: processors to use on this machine; default all of them.
        gpus: GPUs to count on this machine; default those that torch sees. Where to compute is
            for each worker to find out, so that GPUs that are only counted are computed on the CPU.

    Raises ClusterUnfit where nothing answers there.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address := os.environ.get("RAY_ADDRESS"):
        _check_that_it_answers(address)
        ray.init(log_to_driver=False, logging_level="ERROR", runtime_env=runtime_env())
        return
    processors = cpus or os.cpu_count() or 1
    devices = torch.cuda.device_count() if gpus is None else gpus
    ray.init(
        address="local",
        num_cpus=processors,
        num_gpus=devices,
        resources={SLOT: float(node_slots({"CPU": processors, "GPU": devices}))},
        include_dashboard=bool(os.environ.get("SIMCLR_LAB_RAY_DASHBOARD")),
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=512 * 2**20,
    )


def _check_that_it_answers(address: str) -> None:
    """Ask whether anything listens at ``host:port``; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if "/" in address or not port.isdecimal():
        return  # ray://..., auto: for Ray to find
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except OSError as error:
        raise ClusterUnfit(
            f"no Ray cluster answers at {address}, which RAY_ADDRESS names ({error}); "
            "start it, or unset RAY_ADDRESS to use this machine"
        ) from None


def capacity() -> Capacity:
    """What the connected cluster can run at once. Raises ClusterUnfit."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    names = [f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})" for node in nodes]
    return capacity_of(dict(zip(names, (node["Resources"] for node in nodes), strict=True)))


def runtime_env() -> dict[str, Any]:
    """What travels to the nodes of a cluster: the checkout, the package and Ray's settings."""
    package = ROOT / "platform" / "simclr_lab"
    settings = {name: os.environ[name] for name in _QUIET if name.startswith("RAY_TRAIN_")}
    return {"working_dir": str(ROOT), "py_modules": [str(package)], "env_vars": settings}


def disconnect() -> None:
    """Leave the cluster; a private one ends with this."""
    ray.shutdown()
