"""Leases: an operating-system lock per cell and per study; it vanishes with its process."""

import os
import re
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from simclr_lab.tracking.home import leases
from simclr_lab.tracking.unfit import HomeUnfit


class LeaseHeld(RuntimeError):  # noqa: N818 - reads as what it says
    """Somebody else holds the lease; the message names them if they are known."""


class Lease:
    """Permission to run ``name``; nobody else on this machine has it at the same time.

    The lock is the truth. The owner's note beside it is advice for people, and is read only while
    the lock is held.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self.name = name
        self._folder = folder or leases()
        self.file = re.sub(r"[^\w.,=+ \[\]-]", "_", name)
        self._lock = FileLock(self._folder / f"{self.file}.lock")
        self._note = self._folder / f"{self.file}.owner"

    def acquire(self, timeout: float = 0.0) -> bool:
        """Take the lease, waiting up to ``timeout`` seconds; False if somebody holds it.

        Raises HomeUnfit where the folder of leases cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=timeout)
            self._note.write_text(f"pid {os.getpid()} on {socket.gethostname()}")
        except Timeout:
            return False
        except OSError as error:
            self._lock.release()
            raise HomeUnfit(self._folder, error) from error
        return True

    def release(self) -> None:
        """Give the lease back."""
        self._note.unlink(missing_ok=True)
        self._lock.release()

    def forget(self) -> None:
        """Remove the lease's file, which is held, and give the lease back.

        Who waits for the file finds it gone once it gets the lock, and asks again.
        """
        self._note.unlink(missing_ok=True)
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    def owner(self) -> str | None:
        """Who holds the lease, as far as is known."""
        try:
            return self._note.read_text() or None
        except OSError:
            return None

    def __enter__(self) -> Self:
        if not self.acquire():
            raise LeaseHeld(f"{self.name} is held by {self.owner() or 'somebody'}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def all_leases(folder: Path | None = None) -> list[str]:
    """Names, as files spell them, of every lease that was ever taken here."""
    return sorted(path.name.removesuffix(".lock") for path in (folder or leases()).glob("*.lock"))


def held(prefix: str = "", folder: Path | None = None) -> str | None:
    """The owner of any held lease whose name starts with ``prefix``, or None if none is held."""
    for name in all_leases(folder):
        if name.startswith(prefix):
            lease = Lease(name, folder)
            if not lease.acquire():
                return f"{name} is held by {lease.owner() or 'somebody'}"
            lease.release()
    return None
