"""Every loss, operator, head, stem and optimizer takes twenty steps on real images."""

import math

import numpy as np
import pytest
import torch
from small import small_recipe

from simclr_lab.data.splits import pretraining_indices
from simclr_lab.training.loop import Pretraining

pytestmark = [pytest.mark.slow, pytest.mark.network]

MATRIX = (
    [
        {"loss__name": name, "loss__semi_hard": semi_hard, "loss__negatives": negatives}
        for name in ("nt_xent", "nt_logistic", "margin_triplet")
        for semi_hard in (False, True)
        for negatives in ("both_views", "one_view")
        if not (name == "nt_xent" and semi_hard)
    ]
    + [
        {"augment__operators": [first, second], "augment__branches": branches}
        for first, second in [
            ("crop", "color"),
            ("color", "crop"),
            ("cutout", "noise"),
            ("sobel", "rotate"),
            ("equalize", "solarize"),
            ("crop", "motion_blur"),
            ("crop", "autoaugment"),
        ]
        for branches in ("both", "second")
    ]
    + [
        {
            "augment__operators": ["blur", "blur"],
            "augment__blur_probability": 1.0,
            "augment__branches": branches,
        }
        for branches in ("both", "second")
    ]
    + [{"loss__name": "cross_entropy"}]
    + [{"augment__semantics": "torchvision", "augment__blur_probability": 0.5}]
    + [{"projection__depth": depth, "projection__out_dim": 32} for depth in range(5)]
    + [{"encoder__stem": stem} for stem in ("imagenet", "cifar", "stride2")]
    + [{"encoder__depth": 50, "encoder__width": 2}]
    + [
        {"optimizer__name": name, "optimizer__learning_rate": rate}
        for name, rate in (("lars", 0.05), ("sgd", 0.001), ("adamw", 0.0001))
    ]
    + [{"compute__precision": "bfloat16", "compute__channels_last": True}]
    + [{"batch_norm__group_images": 8, "compute__micro_batch_size": 16}]
    + [{"loss__normalize": False, "loss__temperature": 10.0, "loss__scale": "paper"}]
    + [{"encoder__variant": "torchvision", "encoder__stem": "imagenet"}]
    + [{"augment__crop": "torchvision", "augment__brightness": "multiplicative"}]
    + [
        {
            "augment__operators": ["sobel"],
            "augment__branches": "second",
            "augment__base_flip": False,
        }
    ]
    + [{"augment__operators": ["crop", "sobel"], "augment__sobel_scaling": "fixed"}]
    + [
        {
            "augment__operators": ["crop", "cutout", "noise"],
            "augment__cutout_position": "anywhere",
            "augment__noise_law": "constant",
        }
    ]
    + [
        {"loss__name": name} | open_
        for name in ("nt_logistic", "margin_triplet")
        for open_ in (
            {"loss__reduction": "sum"},
            {"loss__semi_hard": True, "loss__without_candidate": "easiest"},
        )
    ]
)


@pytest.mark.parametrize(
    "changes", MATRIX, ids=lambda c: ",".join(f"{k}={v}" for k, v in c.items())
)
def test_twenty_steps(cifar10, changes) -> None:
    recipe = small_recipe(
        **{"data__image_size": 32, "data__pretrain_images": 640, "batch_size": 32, "epochs": 1}
        | changes
    )
    rows = pretraining_indices(cifar10.train_labels, split="train", images=640)
    images = torch.from_numpy(np.ascontiguousarray(cifar10.train_images[rows]))
    labels = torch.from_numpy(cifar10.train_labels[rows])
    run = Pretraining(recipe, 0, images, torch.arange(640), labels=labels)
    before = [p.detach().clone() for p in run.model.encoder.parameters()]
    (epoch,) = run.epochs()
    assert epoch.step == 21
    assert all(math.isfinite(value) for value in epoch.metrics.values())
    changed = [
        not torch.equal(old, new.detach())
        for old, new in zip(before, run.model.encoder.parameters(), strict=True)
    ]
    assert all(torch.isfinite(p).all() for p in run.model.parameters())
    assert sum(changed) > 0.9 * len(changed)
