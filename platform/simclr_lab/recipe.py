"""The recipe: complete, frozen settings of one pretraining run and of its evaluations.

Every field names its unit and the paper's section (Chen et al. 2020, arXiv 2002.05709v3); the
defaults are the paper's own ImageNet settings. Derived quantities are properties, never fields.
"""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ValidationError, model_validator

from simclr_lab.evaluation_section import Evaluation
from simclr_lab.fields import (
    FieldError,
    field_error,
    flatten,
    leaves,
    nest,
    neutral_values,
    setting,
    unknown_field,
)
from simclr_lab.sections import (
    Augment,
    BatchNorm,
    Compute,
    Data,
    Encoder,
    Loss,
    Optimizer,
    Projection,
    Section,
)
from simclr_lab.steps import scaled_learning_rate, total_steps, warmup_steps

DATASET_IMAGES: dict[str, dict[str, int]] = {
    "cifar10": {"train": 45_000, "train+val": 50_000},
}
"""Images of each named dataset that pretraining may see, by split; validation is the difference."""

DATASET_CLASSES = {"cifar10": 10}
"""Classes of each named dataset, for the supervised baseline."""


class Recipe(Section):
    """One pretraining run, complete. Build variants with ``with_fields``; nothing is mutated."""

    batch_size: int = setting(
        4096, unit="images, over all workers", paper="Sec. 2.2", ge=2, le=65_536
    )
    epochs: int = setting(
        100, unit="epochs", paper="Sec. 2.2", ge=0, le=10_000, about="0: a random encoder"
    )
    data: Data = Data()
    augment: Augment = Augment()
    encoder: Encoder = Encoder()
    projection: Projection = Projection()
    loss: Loss = Loss()
    batch_norm: BatchNorm = BatchNorm()
    optimizer: Optimizer = Optimizer()
    compute: Compute = Compute()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        images = self.pretrain_images
        if self.batch_size > images:
            raise ValueError(
                f"batch_size is {self.batch_size}; allowed: at most the {images} pretraining images"
            )
        group = self.batch_norm.group_images
        if group != "whole" and self.batch_size % group:
            raise ValueError(
                f"batch_norm.group_images is {group}; allowed: divisors of batch_size, "
                f"{self.batch_size}"
            )
        micro = self.compute.micro_batch_size
        if micro != "whole" and (self.batch_size % micro or group == "whole" or micro % group):
            raise ValueError(
                f"compute.micro_batch_size is {micro}; allowed: divisors of batch_size "
                f"{self.batch_size} that hold whole groups of batch norm "
                f"(batch_norm.group_images is {group!r}; it must be a number that divides it); "
                "for whole-batch norms set compute.activation_checkpointing instead"
            )
        if "spectrum" in self.evaluation.protocols and not self._has_spectrum:
            raise ValueError(
                f"evaluation.protocols holds 'spectrum' with projection.depth "
                f"{self.projection.depth} and projection.out_dim {self.projection.out_dim}; "
                f"allowed: a linear head (depth 1) as wide as h, {self.feature_width}"
            )
        unit = self.optimizer.warmup_unit
        if unit == "fraction" and self.optimizer.warmup > 1:
            raise ValueError(
                f"optimizer.warmup is {self.optimizer.warmup}; allowed: 0 to 1, a fraction of all "
                "steps"
            )
        if self.epochs and self.warmup_steps >= self.total_steps:
            raise ValueError(
                f"optimizer.warmup is {self.optimizer.warmup} ({unit}), {self.warmup_steps} steps; "
                f"allowed: fewer than the run's {self.total_steps} steps, or the learning rate "
                "would never reach its peak (set optimizer.warmup_unit to 'fraction')"
            )
        return self

    @property
    def pretrain_images(self) -> int:
        """Images in one epoch of pretraining."""
        available = DATASET_IMAGES[self.data.dataset][self.data.pretrain_split]
        wanted = self.data.pretrain_images
        if wanted == "all":
            return available
        if wanted > available:
            raise ValueError(
                f"data.pretrain_images is {wanted}; allowed: at most the {available} images of "
                f"{self.data.dataset} {self.data.pretrain_split}"
            )
        return wanted

    @property
    def peak_learning_rate(self) -> float:
        """Learning rate after warm-up, scaled to the global batch (App. B.1)."""
        optimizer = self.optimizer
        return scaled_learning_rate(
            optimizer.learning_rate, self.batch_size, optimizer.learning_rate_rule
        )

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return total_steps(self.pretrain_images, self.epochs, self.batch_size)

    @property
    def warmup_steps(self) -> int:
        """Steps of linear warm-up."""
        optimizer = self.optimizer
        if optimizer.warmup_unit == "fraction":
            return int(optimizer.warmup * self.total_steps)
        return warmup_steps(self.pretrain_images, optimizer.warmup, self.batch_size)

    @property
    def feature_width(self) -> int:
        """Width of h (Sec. 2.1)."""
        if self.encoder.kind == "raw_pixels":
            return 3 * self.data.image_size**2
        expansion = 4 if self.encoder.depth >= 50 else 1
        return 8 * expansion * self.encoder.channels * self.encoder.width

    @property
    def _has_spectrum(self) -> bool:
        """Whether the head is a square matrix, or there is none to ask."""
        head = self.projection
        return not self.trains or (head.depth == 1 and head.out_dim == self.feature_width)

    @property
    def trains(self) -> bool:
        """Whether there is anything to optimise: not for a random encoder or raw pixels."""
        return self.epochs > 0 and self.encoder.kind != "raw_pixels"

    @property
    def supervised(self) -> bool:
        """Whether labels are trained on: the baseline beside contrastive pretraining."""
        return self.loss.name == "cross_entropy"

    def flat(self) -> dict[str, Any]:
        """Every field by its dotted path."""
        return flatten(self.model_dump())

    def with_fields(self, changes: Mapping[str, Any]) -> "Recipe":
        """A copy with the dotted fields of ``changes`` replaced, validated as a whole.

        Raises FieldError naming the field, its value and what is allowed; also for a changed
        ``optimizer.learning_rate_rule`` that does not bring its own ``optimizer.learning_rate``.
        """
        flat = self.flat()
        for name in changes:
            if name not in flat:
                raise unknown_field(name, flat)
        rule, rate = "optimizer.learning_rate_rule", "optimizer.learning_rate"
        if changes.get(rule, flat[rule]) != flat[rule] and rate not in changes:
            raise FieldError(
                rule,
                f"is {changes[rule]!r} without {rate}; allowed: both together, since a rate "
                "tuned for one rule means another under the other",
            )
        try:
            return Recipe.model_validate(nest(flat | dict(changes)))
        except ValidationError as error:
            raise field_error(error, flat) from None

    def identity_fields(self) -> dict[str, Any]:
        """The fields that determine the pretrained encoder, by dotted path.

        Evaluation settings, inert fields and later fields at their neutral value are left out;
        two spellings of one value ("all" images or their number) count as one.
        """
        flat = {name: v for name, v in self.flat().items() if not name.startswith("evaluation.")}
        for saver in ("compute.micro_batch_size", "compute.activation_checkpointing"):
            del flat[saver]  # how much memory was there, not what was computed
        flat["data.pretrain_images"] = self.pretrain_images
        if flat["batch_norm.group_images"] == self.batch_size:
            flat["batch_norm.group_images"] = "whole"
        for name, value in self.augment.said_by_semantics().items():
            if flat[f"augment.{name}"] == value:
                flat[f"augment.{name}"] = "of_semantics"
        inert = inert_fields(self)
        neutral = neutral_values(Recipe)
        return {
            name: value
            for name, value in flat.items()
            if name not in inert and not (name in neutral and value == neutral[name])
        }


def inert_fields(recipe: Recipe) -> set[str]:
    """Fields that cannot change the pretrained encoder, given the others."""
    if not recipe.trains:
        kept = {"encoder.kind", "data.image_size"}
        if recipe.encoder.kind != "raw_pixels":
            kept |= {f"encoder.{name}" for name in Encoder.model_fields}
        return ({name for name, _ in leaves(Recipe)} - kept) | _inert_encoder(recipe.encoder)
    optimizer, augment, loss = recipe.optimizer, recipe.augment, recipe.loss
    mined = loss.name in ("nt_logistic", "margin_triplet")
    rules: list[tuple[bool, list[str]]] = [
        (not mined, ["loss.semi_hard"]),
        (not (mined and loss.semi_hard), ["loss.without_candidate"]),
        (not mined or loss.semi_hard, ["loss.reduction"]),
        (loss.name in ("margin_triplet", "cross_entropy"), ["loss.temperature"]),
        (
            loss.name == "cross_entropy",
            [
                *("loss.normalize", "loss.negatives", "loss.scale"),
                *("projection.depth", "projection.out_dim"),
            ],
        ),
        (loss.name != "margin_triplet", ["loss.margin"]),
        (recipe.projection.depth == 0, ["projection.out_dim"]),
        (optimizer.name != "lars", ["optimizer.trust_coefficient"]),
        (optimizer.name == "adamw", ["optimizer.momentum", "optimizer.nesterov"]),
        (optimizer.momentum == 0, ["optimizer.nesterov"]),
        (optimizer.warmup == 0, ["optimizer.warmup_unit"]),
    ]
    inert = {name for holds, names in rules if holds for name in names}
    return inert | _inert_augment(augment) | _inert_encoder(recipe.encoder)


def _inert_encoder(encoder: Encoder) -> set[str]:
    """Both variants are one network where there is no pool and every stage changes its width."""
    same = encoder.depth >= 50 and encoder.stem != "imagenet"
    return {"encoder.variant"} if same else set()


def _inert_augment(augment: Augment) -> set[str]:
    """Fields of operators that are not applied to any view."""
    shared = augment.branches == "second"
    blur_sigma = ["blur_sigma_min", "blur_sigma_max", "blur_sigma_scope"]
    applied = {"crop", *augment.operators} if shared else augment.operators
    own = {
        "crop": ["crop_area_min", "flip_probability"],
        "color": ["jitter_probability", "color_strength", "color_drop_probability", "brightness"],
        "blur": ["blur_probability", *blur_sigma],
        "cutout": ["cutout_probability", "cutout_position"],
        "noise": ["noise_probability", "noise_level_max", "noise_law"],
        "sobel": ["sobel_probability", "sobel_scaling"],
        "equalize": ["equalize_probability"],
        "solarize": ["solarize_probability", "solarize_threshold"],
        "motion_blur": ["motion_blur_probability"],
        "autoaugment": ["autoaugment_policy"],
    }
    inert = [name for operator, names in own.items() if operator not in applied for name in names]
    if not shared or augment.flip_probability == 0:
        inert.append("base_flip")
    elif not augment.base_flip and "crop" not in augment.operators:
        inert.append("flip_probability")
    inert += ["color_strength", "brightness"] if augment.jitter_probability == 0 else []
    inert += ["brightness"] if augment.color_strength == 0 else []
    inert += blur_sigma if augment.blur_probability == 0 else []
    inert += ["cutout_position"] if augment.cutout_probability == 0 else []
    inert += ["noise_level_max", "noise_law"] if augment.noise_probability == 0 else []
    inert += ["noise_law"] if augment.noise_level_max == 0 else []
    inert += ["sobel_scaling"] if augment.sobel_probability == 0 else []
    inert += ["solarize_threshold"] if augment.solarize_probability == 0 else []
    return {f"augment.{name}" for name in inert}
