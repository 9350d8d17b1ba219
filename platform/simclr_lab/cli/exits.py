"""How commands end: exit codes, and one clear message for what went wrong."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NoReturn

import typer
from rich.console import Console

from simclr_lab.tracking.unfit import UNWRITABLE, Unfit
from simclr_lab.training.capacity import ClusterUnfit


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    CELLS_FAILED = 1
    BAD_INPUT = 2
    STOPPED = 3  # by a budget, by the user, or because the study is already running; resumable
    UNFIT = 4  # no space, no cluster, no ledger, no data


errors = Console(stderr=True, soft_wrap=True, highlight=False)
output = Console(soft_wrap=True, highlight=False)


def leave(code: Exit, message: str) -> NoReturn:
    """Print one message to standard error and end the command."""
    errors.print(message, markup=False)
    raise typer.Exit(int(code))


@contextmanager
def unfit_is_exit_4() -> Iterator[None]:
    """Say what makes the environment unfit, in one line, and leave."""
    try:
        yield
    except (Unfit, ClusterUnfit) as error:
        leave(Exit.UNFIT, str(error))
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        leave(Exit.UNFIT, f"{error.filename or 'the home'} cannot be used: {error.strerror}")


def interactive() -> bool:
    """Whether a person is watching a terminal."""
    return output.is_terminal and os.environ.get("TERM") != "dumb"
