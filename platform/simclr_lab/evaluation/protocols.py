"""Named protocols on a finished encoder; what they measure goes by ``<protocol>/<name>``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal

from torch import Tensor

from simclr_lab.evaluation.classifier import classifier
from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.finetune import FinetuneSettings, finetune
from simclr_lab.evaluation.knn import knn
from simclr_lab.evaluation.labelled import Labelled, LabelledImages, LabelledSplits
from simclr_lab.evaluation.linear import linear
from simclr_lab.evaluation.linear_sgd import SgdSettings, linear_sgd
from simclr_lab.evaluation.measured import Measured
from simclr_lab.evaluation.ridge import ridge
from simclr_lab.evaluation.spectrum import spectrum
from simclr_lab.evaluation.transfer import (
    Target,
    TransferFinetuneSettings,
    TransferSettings,
    transfer_finetune,
    transfer_linear,
)
from simclr_lab.evaluation.transform_probe import PROBES, ProbeSettings, transform_probe
from simclr_lab.evaluation.tsne import TsneSettings, tsne
from simclr_lab.names import target_of


@dataclass(frozen=True)
class Settings:
    """Settings of all protocols; the paper's where it has any."""

    linear_refit: Literal["train", "train+val"] = "train"
    sgd: SgdSettings = field(default_factory=SgdSettings)
    finetune: Mapping[str, FinetuneSettings] = field(default_factory=dict)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    transfer_finetune: TransferFinetuneSettings = field(default_factory=TransferFinetuneSettings)
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    tsne: TsneSettings = field(default_factory=TsneSettings)


@dataclass(frozen=True)
class Judge:
    """A finished encoder with everything that its protocols may look at; features are kept.

    Args:
        frozen: encoder and head.
        splits: labelled images of the dataset that it was pretrained on.
        settings: of the protocols.
        few: labelled images of a semi-supervised protocol, by its name.
        target: another dataset, by its name, loaded when it is asked for.
    """

    frozen: Frozen
    splits: LabelledSplits
    settings: Settings = field(default_factory=Settings)
    few: Callable[[str], LabelledImages] | None = None
    target: Callable[[str], Target] | None = None

    @cached_property
    def h(self) -> "Features":
        """Representations of the splits."""
        return Features(self.frozen.h, self.splits)

    @cached_property
    def z(self) -> "Features":
        """Projections of the splits."""
        return Features(self.frozen.z, self.splits)


@dataclass(frozen=True)
class Features:
    """Features of each split, extracted when they are first asked for."""

    embed: Callable[[Tensor], Tensor]
    splits: LabelledSplits

    def _of(self, part: LabelledImages) -> Labelled:
        return Labelled(self.embed(part.images), part.labels)

    @cached_property
    def fit(self) -> Labelled:
        """Of the images that evaluations fit on."""
        return self._of(self.splits.fit)

    @cached_property
    def val(self) -> Labelled:
        """Of the validation images."""
        return self._of(self.splits.val)

    @cached_property
    def test(self) -> Labelled | None:
        """Of the test images, where they may be read."""
        return self._of(self.splits.test) if self.splits.test is not None else None


def _ridge(judge: Judge) -> Measured:
    fit, val = judge.h.fit, judge.h.val
    return Measured(ridge(fit.features, fit.labels, val.features, val.labels))


def _linear(judge: Judge, features: Features) -> Measured:
    refit = judge.settings.linear_refit
    return linear(features.fit, features.val, features.test, refit=refit)


def _finetune(judge: Judge, name: str) -> Measured:
    assert judge.few is not None
    settings = judge.settings.finetune[name]
    return finetune(judge.frozen, judge.few(name), judge.splits, settings)


def _probe(judge: Judge, name: str) -> Measured:
    fit, val = judge.splits.fit.images, judge.splits.val.images
    return transform_probe(name, judge.frozen, fit, val, judge.settings.probe)


def _transfer(judge: Judge, protocol: str) -> Measured:
    named = target_of(protocol)
    assert named is not None
    assert judge.target is not None
    kind, name = named
    target = judge.target(name)
    if kind == "transfer":
        return transfer_linear(judge.frozen, target, judge.settings.transfer)
    grid = judge.settings.transfer_finetune
    return transfer_finetune(judge.frozen, target, grid, name)


PROTOCOLS: dict[str, Callable[[Judge], Measured]] = {
    "ridge": _ridge,
    "linear": lambda judge: _linear(judge, judge.h),
    "linear_z": lambda judge: _linear(judge, judge.z),
    "linear_sgd": lambda judge: linear_sgd(judge.frozen, judge.splits, judge.settings.sgd),
    "knn": lambda judge: knn(judge.h.fit, judge.h.val, judge.h.test),
    "classifier": lambda judge: classifier(judge.frozen, judge.splits),
    "finetune_1pct": partial(_finetune, name="finetune_1pct"),
    "finetune_10pct": partial(_finetune, name="finetune_10pct"),
    **{name: partial(_probe, name=name) for name in PROBES},
    "spectrum": lambda judge: spectrum(judge.frozen.head) if judge.frozen.head else Measured(),
    "tsne": lambda judge: tsne(judge.frozen, judge.splits.val, judge.settings.tsne),
}
"""Protocols by name; those that transfer to a dataset are named after it instead."""

READS_TEST = frozenset(
    {"linear", "linear_z", "linear_sgd", "knn", "classifier", "finetune_1pct", "finetune_10pct"}
)
"""Protocols that read the test split of the pretraining dataset."""


def evaluate(judge: Judge, protocols: Sequence[str]) -> Measured:
    """What the named protocols measure; features of the splits are extracted once for all.

    Raises ValueError for an unknown protocol.
    """
    unknown = [n for n in protocols if n not in PROTOCOLS and target_of(n) is None]
    if unknown:
        raise ValueError(
            f"protocols {unknown}; allowed: {', '.join(PROTOCOLS)}, transfer_DATASET, "
            "transfer_finetune_DATASET"
        )
    found = Measured()
    for name in dict.fromkeys(protocols):
        run = PROTOCOLS.get(name)
        measured = run(judge) if run is not None else _transfer(judge, name)
        found |= measured.under(name)
    return found
