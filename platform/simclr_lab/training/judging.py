"""What a cell's evaluations look at: its model, its own dataset's images, and those of others."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simclr_lab.contrastive.model import SimCLR
from simclr_lab.data.label_fractions import Percent, label_fraction_indices
from simclr_lab.data.sources import Dataset, load_dataset
from simclr_lab.data.splits import fit_indices, target_splits, validation_split
from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.finetune import FinetuneSettings
from simclr_lab.evaluation.labelled import LabelledImages, LabelledSplits
from simclr_lab.evaluation.linear_sgd import SgdSettings
from simclr_lab.evaluation.protocols import Judge, Settings
from simclr_lab.evaluation.transfer import Target, TransferFinetuneSettings, TransferSettings
from simclr_lab.evaluation.transform_probe import ProbeSettings
from simclr_lab.evaluation.tsne import TsneSettings
from simclr_lab.recipe import Recipe

FEW: dict[str, Percent] = {"finetune_1pct": 1, "finetune_10pct": 10}
"""Percent of the labels that each semi-supervised protocol trains on."""


def build_judge(
    recipe: Recipe, model: SimCLR, dataset: Dataset, *, device: torch.device, test: bool
) -> Judge:
    """The finished (or present) encoder with all that its protocols may ask for.

    Args:
        recipe: the settings of the cell.
        model: encoder and head.
        dataset: what was pretrained on.
        device: where to compute.
        test: whether the test split may be read.
    """
    compute = recipe.compute
    frozen = Frozen(
        model.encoder,
        model.head,
        precision=compute.precision,
        channels_last=compute.channels_last,
        device=device,
        size=recipe.data.image_size,
    )
    fit_images = recipe.evaluation.transfer_fit_images

    def few(protocol: str) -> LabelledImages:
        rows = label_fraction_indices(dataset.name, dataset.train_labels, FEW[protocol])
        return _rows(dataset, rows)

    return Judge(
        frozen,
        labelled_splits(recipe, dataset, test=test),
        _settings(recipe),
        few=few,
        target=lambda name: transfer_target(load_dataset(name), fit_images),
    )


def labelled_splits(recipe: Recipe, dataset: Dataset, *, test: bool) -> LabelledSplits:
    """Labelled images for evaluation; the test split only where a protocol reads it."""
    labels = dataset.train_labels
    return LabelledSplits(
        fit=_rows(dataset, fit_indices(labels, images=recipe.evaluation.fit_images)),
        val=_rows(dataset, validation_split(labels)[1]),
        test=_test(dataset) if test else None,
    )


def transfer_target(dataset: Dataset, fit_images: int | str) -> Target:
    """Another dataset with a tenth of its training images as validation.

    ``fit_images`` limits the training images to a fixed prefix; more than there are means all.
    """
    train, val = target_splits(dataset.train_labels)
    train = train[: int(fit_images)] if fit_images != "all" else train
    splits = LabelledSplits(_rows(dataset, train), _rows(dataset, val), _test(dataset))
    return Target(splits, len(dataset.classes), dataset.metric)


def _settings(recipe: Recipe) -> Settings:
    wanted = recipe.evaluation
    epochs = {
        "finetune_1pct": wanted.finetune_epochs_1pct,
        "finetune_10pct": wanted.finetune_epochs_10pct,
    }
    grid = TransferFinetuneSettings(
        wanted.transfer_steps,
        wanted.transfer_batch_size,
        wanted.transfer_learning_rates,
        wanted.transfer_weight_decays,
    )
    return Settings(
        linear_refit=wanted.linear_refit,
        sgd=SgdSettings(
            wanted.sgd_epochs,
            wanted.sgd_batch_size,
            wanted.sgd_learning_rate,
            wanted.sgd_augment,
            wanted.sgd_schedule,
        ),
        finetune={
            name: FinetuneSettings(
                each,
                wanted.finetune_batch_size,
                wanted.finetune_learning_rate,
                wanted.finetune_schedule,
            )
            for name, each in epochs.items()
        },
        transfer=TransferSettings(wanted.transfer_strengths),
        transfer_finetune=grid if recipe.trains else grid.from_scratch(),
        probe=ProbeSettings(
            wanted.probe_color_strength, wanted.probe_hidden_units, wanted.probe_iterations
        ),
        tsne=TsneSettings(wanted.tsne_images, wanted.tsne_perplexity),
    )


def shared_tensor(array: NDArray[Any]) -> Tensor:
    """A view of a shared array. It must never be written to: only gather from it by index."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))


def _rows(dataset: Dataset, indices: NDArray[np.int64]) -> LabelledImages:
    where = torch.from_numpy(indices)
    images, labels = shared_tensor(dataset.train_images), shared_tensor(dataset.train_labels)
    return LabelledImages(images[where], labels[where])


def _test(dataset: Dataset) -> LabelledImages:
    return LabelledImages(shared_tensor(dataset.test_images), shared_tensor(dataset.test_labels))
