"""Fixtures of the tests that start commands."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_commands import ROOT, Start, command, environment, run, study


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """(home, study file, output) of an ablation that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    path = study(folder, refs="true")
    code, output = run(command(path), folder / "home")
    assert code == 0, output
    return folder / "home", path, output


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts commands; whatever a test leaves running ends with it."""
    started: list[subprocess.Popen[str]] = []

    def one(arguments: list[str], home: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(home),
            cwd=ROOT,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield one
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
