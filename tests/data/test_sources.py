"""The registry of named datasets: what is known of each before it is loaded."""

import hashlib
from pathlib import Path

import pytest

from simclr_lab.data import cifar10
from simclr_lab.data.source import METRICS
from simclr_lab.data.sources import (
    BUILT_IN,
    DATASETS,
    Dataset,
    dataset_digest,
    find_source,
    known_datasets,
    verify_cached,
)
from simclr_lab.data.unavailable import DataUnavailable

CIFAR10_DIGEST = "5ce2bbede4e8"
"""Part of every cell's key: it never changes."""


def test_built_in_names(tmp_path: Path) -> None:
    assert DATASETS == ("cifar10", "cifar100", "fashion_mnist")
    assert known_datasets(tmp_path) == DATASETS


def test_the_digest_of_cifar10_is_that_of_recorded_keys() -> None:
    text = "".join(cifar10.DIGESTS[name] for name in sorted(cifar10.DIGESTS))
    assert dataset_digest("cifar10") == hashlib.sha256(text.encode()).hexdigest()
    assert dataset_digest("cifar10").startswith(CIFAR10_DIGEST)
    assert len({source.digest for source in BUILT_IN.values()}) == len(BUILT_IN)


@pytest.mark.parametrize("name", DATASETS)
def test_facts(name: str, tmp_path: Path) -> None:
    source = find_source(name)
    assert source.name == name
    assert source.metric in METRICS
    assert len(set(source.classes)) == len(source.classes) == (100 if name == "cifar100" else 10)
    assert source.cached(tmp_path) is None
    with pytest.raises(DataUnavailable, match=f"missing; run: simclr-lab data fetch {name}"):
        verify_cached(name, tmp_path)


def test_an_unknown_name_is_a_key_error(tmp_path: Path) -> None:
    for look in (dataset_digest, verify_cached, find_source):
        with pytest.raises(KeyError, match="cifar11"):
            look("cifar11", tmp_path)


def test_datasets_of_one_label_an_image_need_no_metric() -> None:
    assert Dataset.__dataclass_fields__["metric"].default == "top1"
    assert list(Dataset.__dataclass_fields__)[-1] == "metric"
