"""Ray says what it has to say in a log file; the screen belongs to the study."""

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from simclr_lab.cli.exits import output
from simclr_lab.tracking.home import home


@contextlib.contextmanager
def ray_in_a_file(name: str) -> Iterator[Path]:
    """Send prints and Ray's log to a file under ``<home>/logs``; the console stays as it is."""
    folder = home() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = folder / f"{name}-{stamp}.log"
    loggers = [logging.getLogger(part) for part in ("ray", "ray.tune", "ray.train", "ray.data")]
    before = [(logger, logger.handlers[:], logger.propagate) for logger in loggers]
    output.file = output.file  # where it writes now, whatever comes of the streams below
    with path.open("a", encoding="utf-8") as file:
        handler = logging.StreamHandler(file)
        for logger in loggers:
            logger.handlers, logger.propagate = [handler], False
        try:
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                yield path
        finally:
            for logger, handlers, propagate in before:
                logger.handlers, logger.propagate = handlers, propagate
