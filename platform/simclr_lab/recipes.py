"""The named scales: base recipes that a study is laid over, each naming what it changes and why."""

from collections.abc import Callable

from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe


def cifar10_resnet18() -> Recipe:
    """The official repository's CIFAR-10 setting: ResNet-18, batch 512, 1,000 epochs (App. B.9).

    Expected: about 91% linear evaluation, on one GPU in about a day.
    """
    return Recipe().with_fields(
        {
            "batch_size": 512,
            "epochs": 1000,
            "encoder.depth": 18,
            "encoder.stem": "cifar",
            "augment.color_strength": 0.5,  # App. B.9
            "augment.blur_probability": 0.0,  # App. B.9: no blur at 32 pixels
            "loss.temperature": 0.5,  # best after convergence on CIFAR-10, Fig. B.8
            "optimizer.learning_rate": 1.0,
            "evaluation.probe_color_strength": 0.5,  # as in pretraining
        }
    )


def cifar10_resnet50() -> Recipe:
    """The paper's CIFAR-10 study (App. B.9): ResNet-50, batch 1,024, 1,000 epochs; 94.0% linear."""
    return cifar10_resnet18().with_fields({"batch_size": 1024, "encoder.depth": 50})


def laptop() -> Recipe:
    """Two CPU cores: a narrow ResNet-18 on 20,000 images for 7 epochs, about 5 CPU-minutes.

    Chosen by a recorded sweep on validation: docs/decisions/0010-laptop-recipe.md.
    """
    return cifar10_resnet18().with_fields(
        {
            "batch_size": 128,  # 1,094 steps, where 512 would leave a quarter of them
            "epochs": 7,
            "data.pretrain_images": 20_000,
            "encoder.channels": 16,  # 1/16 of the multiplications
            "encoder.stem": "stride2",  # 1/4 of what is left
            "loss.temperature": 0.1,  # best at few epochs, as in Fig. B.8
            "optimizer.learning_rate": 0.2,
            "optimizer.learning_rate_rule": "sqrt",  # better than linear for small batches, B.1
            "optimizer.warmup": 0.03,
            "optimizer.warmup_unit": "fraction",  # ten epochs would never end
            "compute.channels_last": True,
            "evaluation.fit_images": 20_000,
            # The paper's 0.05 at once on all images unlearns what a few epochs of LARS have learnt:
            # 14% of 1% of the labels on validation, against 38% so.
            "evaluation.finetune_batch_size": 64,
            "evaluation.finetune_learning_rate": 0.008,
            "evaluation.transfer_fit_images": 10_000,
            "evaluation.transfer_strengths": 12,  # one per power of ten, where the paper has four
            "evaluation.transfer_steps": 300,  # a 67th of the paper's, and two of its seven rates
            "evaluation.transfer_learning_rates": [0.001, 0.01],
            "evaluation.transfer_weight_decays": [0.0],
        }
    )


def demo() -> Recipe:
    """An eighth of ``laptop``, about one CPU-minute a cell: enough to see everything work."""
    return laptop().with_fields(
        {
            "epochs": 3,
            "data.pretrain_images": 6_000,
            "evaluation.fit_images": 5_000,
        }
    )


SCALES: dict[str, Callable[[], Recipe]] = {
    "demo": demo,
    "laptop": laptop,
    "cifar10_resnet18": cifar10_resnet18,
    "cifar10_resnet50": cifar10_resnet50,
}


def named_recipe(name: str) -> Recipe:
    """The base recipe of a scale. Raises FieldError for a name that is not a scale."""
    if name not in SCALES:
        raise FieldError("scale", f"is {name!r}; allowed: {', '.join(SCALES)}")
    return SCALES[name]()
