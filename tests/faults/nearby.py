"""What the commands lean on and a fault takes away: an MLflow server, a disk."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DEADLINE = 120.0


class MlflowServer:
    """A server on loopback over the home's own ledger, always at the same port."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.port = home, _free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        database = f"sqlite:///{self.home / 'mlflow.db'}"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                *("--host", "127.0.0.1", "--port", str(self.port)),
                *("--backend-store-uri", database, "--serve-artifacts"),
                *("--artifacts-destination", str(self.home / "artifacts")),
            ],
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + DEADLINE
        while not self._answers():
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < until, f"no answer at {self.uri}"
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL to the server and its workers, which are all that its group holds."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NotAllowed(RuntimeError):  # noqa: N818 - reads as what it says
    """This machine does not let the tests mount."""


def fill(disk: Path) -> None:
    """Write until there is no space left."""
    with (disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"0" * 4096):
            pass


@contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[None]:
    """A mount for as long as the block runs. Raises NotAllowed where it cannot be made."""
    place.mkdir(parents=True, exist_ok=True)
    _mount(*arguments, str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=30)


def remount(place: Path, option: str) -> None:
    """Change an option of a mount."""
    _mount("-o", f"remount,{option}", str(place))


def _mount(*arguments: str) -> None:
    try:
        subprocess.run(
            ["mount", *arguments], check=True, timeout=30, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotAllowed(f"mount is not allowed here: {getattr(error, 'stderr', error)}") from error
