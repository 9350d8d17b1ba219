"""The MLflow UI answers on loopback."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

DEADLINE = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(url: str, process: subprocess.Popen) -> str:
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.read().decode()
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(f"no answer at {url}")


@pytest.mark.slow
def test_the_ui_opens_on_loopback(own_home: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "simclr_lab", "ui", "--port", str(port)],
        env=os.environ | {"SIMCLR_LAB_HOME": str(own_home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert "mlflow" in answer(f"http://127.0.0.1:{port}/", process).lower()
        assert answer(f"http://127.0.0.1:{port}/health", process) == "OK"
    finally:
        os.killpg(process.pid, 9)  # the group holds this server's own workers and nothing else
        process.wait(30)
