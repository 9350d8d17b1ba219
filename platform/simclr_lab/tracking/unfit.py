"""What makes the environment unfit for records; every command ends with exit code 4 on it."""

import errno

UNWRITABLE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR}
)
"""Errors of the file system that the user has to mend: no space, no permission, no folder."""


class Unfit(RuntimeError):  # noqa: N818 - reads as what it says
    """The environment is unfit; the message names what and why."""


class LedgerUnavailable(Unfit):
    """The ledger cannot be reached; the message names it and the reason."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"the ledger at {uri} cannot be reached: {reason}")


class LedgerUnreadable(LedgerUnavailable):
    """The ledger is written in a format that this version does not read."""

    def __init__(self, uri: str, found: str, known: str) -> None:
        advice = (
            "it was written by a newer simclr-lab: update this one"
            if is_newer(found, known)
            else "simclr-lab migrate brings it up to date"
        )
        Unfit.__init__(
            self, f"the ledger at {uri} has schema {found}, this version reads {known}: {advice}"
        )


class HomeUnfit(Unfit):
    """The home cannot be written to; the message names the file and the reason."""

    def __init__(self, place: object, error: OSError) -> None:
        super().__init__(f"{place} cannot be written: {error.strerror or error}")


def is_newer(found: str, known: str) -> bool:
    """Whether a schema comes after another; what is no number comes from a later time too."""
    return not found.isdecimal() or int(found) > int(known)
