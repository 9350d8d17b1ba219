"""Where a number comes from: versions, hardware, commit, owner. Recorded, never part of a key."""

import getpass
import os
import platform
import socket
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from simclr_lab.tracking.secrets import without_secrets

ROOT = Path(__file__).resolve().parents[3]
MAX_DIFF_BYTES = 1_000_000
_PACKAGES = ("simclr-lab", "torch", "torchvision", "ray", "optuna", "mlflow", "numpy")


@lru_cache(maxsize=1)
def provenance() -> dict[str, str]:
    """Tags without their prefix: versions, hardware, host, owner, commit."""
    tags = {f"version.{name}": _version(name) for name in _PACKAGES}
    return tags | {
        "version.python": platform.python_version(),
        "hardware": hardware(),
        "host": socket.gethostname(),
        "owner": _owner(),
        "git_commit": git("rev-parse", "HEAD") or "unknown",
        "git_dirty": str(bool(git("status", "--porcelain", "--untracked-files=no"))).lower(),
    }


def hardware() -> str:
    """Processor, cores and memory, in one line."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"


def git_diff() -> str:
    """Changes of tracked files against the commit, without secrets; cut at ``MAX_DIFF_BYTES``."""
    diff = _git("diff", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD")
    return without_secrets(diff[:MAX_DIFF_BYTES])


def git(*arguments: str) -> str:
    """What git says in the checkout; empty where there is no git or no checkout."""
    return _git(*arguments).strip()


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _owner() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
