"""Fixtures that several tests share; no test sees the user's own home or ledger."""

from pathlib import Path

import pytest

from simclr_lab.data.sources import Dataset, load_dataset


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh home for every test: no test can reach the user's runs."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("SIMCLR_LAB_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return home


@pytest.fixture(scope="session")
def cifar10() -> Dataset:
    """The real images, from the cache or fetched into it."""
    return load_dataset("cifar10")
