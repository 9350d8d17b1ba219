"""What kind of failure an exception is, as far as it can be told."""

from pathlib import Path

from ray.exceptions import NodeDiedError, RayActorError

from simclr_lab.training.events import FailureKind

_ALLOCATION = ("out of memory", "can't allocate memory", "cannot allocate memory")
_CARRIERS = ("controller_failure", "health_check_failure", "cause", "__cause__")
_PEER = ("connection closed by peer", "connection reset by peer", "remote process exited")
_NODE = ("its node has died", "node was terminated", "node died")


def kind_of(error: BaseException) -> FailureKind:
    """The kind of an exception; a failed group is what the first of its workers was.

    A worker that is gone may be known only by what the others say: that they were left.
    """
    causes = _causes(error)
    for one in causes:
        text = str(one).lower()
        if (
            isinstance(one, MemoryError)
            or type(one).__name__ == "OutOfMemoryError"
            or (isinstance(one, RuntimeError) and any(words in text for words in _ALLOCATION))
        ):
            return FailureKind.OUT_OF_MEMORY
        if isinstance(one, RayActorError | NodeDiedError):
            return lost(text)
    left = any(words in str(one).lower() for one in causes for words in _PEER)
    return FailureKind.LOST_PROCESS if left else FailureKind.ERROR


def lost(text: str) -> FailureKind:
    """The kind of a process that is gone, by what Ray says of it."""
    if any(words in text.lower() for words in _NODE):
        return FailureKind.LOST_NODE
    return FailureKind.LOST_PROCESS


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it carries: a group's failures by worker, a remote task's cause."""
    found: list[BaseException] = [error]
    for one in found:
        inner = [*getattr(one, "worker_failures", {}).values()]
        inner += [getattr(one, name, None) for name in _CARRIERS]
        found += [each for each in inner if isinstance(each, BaseException) and each not in found]
    return found


class KernelKills:
    """Processes that the kernel of this machine has killed for want of memory, since last asked.

    A killed process cannot say why it died, and Ray sees only that it is gone.
    """

    def __init__(self, counters: Path = Path("/proc/vmstat")) -> None:
        self._counters = counters
        self._seen = self._count()

    def more(self) -> bool:
        """Whether there were more since the last call."""
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        try:
            lines = self._counters.read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
