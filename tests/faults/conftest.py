"""One cluster and one undisturbed run, which every fault is compared with."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.cluster import TwoNodes, two_nodes
from faults.lab import Lab, Undisturbed
from faults.nearby import MlflowServer
from faults.studies import STUDIES

SEED = 20200213
SECONDS = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def cluster() -> Iterator[TwoNodes]:
    with two_nodes() as running:
        yield running


@pytest.fixture(scope="session")
def undisturbed(cluster: TwoNodes, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    lab = Lab(cluster, tmp_path_factory.mktemp("undisturbed"))
    seconds = {}
    for name, arguments in STUDIES.items():
        began = time.monotonic()
        code, output = lab.run(arguments(lab.folder))
        assert code == 0, output
        seconds[name] = time.monotonic() - began
    return Undisturbed(lab, seconds)


@pytest.fixture
def lab(cluster: TwoNodes, tmp_path: Path) -> Iterator[Lab]:
    cluster.add_second()
    one = Lab(cluster, tmp_path)
    yield one
    one.close()


@pytest.fixture
def server(lab: Lab) -> Iterator[MlflowServer]:
    """The lab's ledger behind a server."""
    one = MlflowServer(lab.home)
    one.start()
    lab.uri = one.uri
    yield one
    one.kill()


@pytest.fixture
def moments(request: pytest.FixtureRequest) -> random.Random:
    """Random moments, the same in every run of the suite."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def took(request: pytest.FixtureRequest, undisturbed: Undisturbed) -> Callable[..., None]:
    """``took("alone")`` notes the wall time that the fault cost; of studies, all that they ran."""
    began = time.monotonic()

    def note(*studies: str) -> None:
        lost = time.monotonic() - began - sum(undisturbed.seconds[each] for each in studies)
        line = f"{request.node.name}: {lost:.0f} s lost"
        request.config.stash.setdefault(SECONDS, []).append(line)

    return note


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Wall time lost to every fault."""
    for line in config.stash.get(SECONDS, []):
        terminalreporter.write_line(line)
