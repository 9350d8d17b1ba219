"""The recipe: complete, frozen settings of one pretraining run and of its evaluations.

Every field names its unit and the paper's section (Chen et al. 2020, arXiv 2002.05709v3); the
defaults are the paper's own ImageNet settings. Derived quantities are properties, never fields.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PositiveInt,
    ValidationError,
    model_validator,
)

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
from simclr_lab.steps import LearningRateRule, scaled_learning_rate, total_steps, warmup_steps

DATASET_IMAGES: dict[str, dict[str, int]] = {
    "cifar10": {"train": 45_000, "train+val": 50_000},
}
"""Images of each named dataset that pretraining may see, by split; validation is the difference."""

Protocol = Literal["ridge", "linear"]


class Section(BaseModel):
    """A strict, frozen group of settings: no coercion, no unknown names, no NaN, no mutation."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )


class Data(Section):
    """What is pretrained on."""

    dataset: Literal["cifar10"] = setting("cifar10", unit="name", paper="App. B.9")
    pretrain_split: Literal["train", "train+val"] = setting(
        "train", unit="split", paper="App. B.8", about="train while searching, train+val for tables"
    )
    pretrain_images: PositiveInt | Literal["all"] = setting(
        "all", unit="images", paper="-", about="a fixed class-balanced subset of the split, or all"
    )
    image_size: int = setting(32, unit="pixels", paper="App. B.9", ge=8, le=1024)


class Augment(Section):
    """The family of augmentations T, drawn twice per image (Sec. 2.1, App. A)."""

    semantics: Literal["tf"] = setting(
        "tf", unit="name", paper="App. A", about="whose image operators: the official code's"
    )
    crop_area_min: float = setting(0.08, unit="fraction of the image", paper="App. A", gt=0, le=1)
    flip_probability: float = setting(0.5, unit="probability", paper="App. A", ge=0, le=1)
    jitter_probability: float = setting(0.8, unit="probability", paper="App. A", ge=0, le=1)
    color_strength: float = setting(
        1.0, unit="multiple of the paper's ranges", paper="App. A, Table 1", ge=0, le=1.25
    )
    color_drop_probability: float = setting(0.2, unit="probability", paper="App. A", ge=0, le=1)
    blur_probability: float = setting(0.5, unit="probability", paper="App. A", ge=0, le=1)
    blur_sigma_min: float = setting(0.1, unit="pixels", paper="App. A", gt=0)
    blur_sigma_max: float = setting(2.0, unit="pixels", paper="App. A", gt=0)
    blur_sigma_scope: Literal["image", "batch"] = setting(
        "batch", unit="name", paper="App. A", about="who shares a sigma: one image, or one view"
    )

    @model_validator(mode="after")
    def _sigma_range(self) -> Self:
        if self.blur_sigma_min > self.blur_sigma_max:
            raise ValueError(
                f"blur_sigma_min is {self.blur_sigma_min}; allowed: at most blur_sigma_max, "
                f"{self.blur_sigma_max}"
            )
        return self


class Encoder(Section):
    """The encoder f: image -> representation h (Sec. 2.1)."""

    kind: Literal["resnet", "raw_pixels"] = setting(
        "resnet", unit="name", paper="Sec. 2.1", about="raw_pixels: h is the image, a reference row"
    )
    depth: Literal[18, 34, 50, 101, 152] = setting(50, unit="layers", paper="Sec. 2.1")
    width: int = setting(1, unit="multiple of every convolution", paper="Fig. 7", ge=1, le=8)
    channels: int = setting(
        64, unit="channels of the stem at width 1", paper="Sec. 4.1", ge=8, le=64, multiple_of=8
    )
    stem: Literal["imagenet", "cifar", "stride2"] = setting(
        "imagenet", unit="name", paper="App. B.9", about="stride2: a 3x3 stem of stride 2, no pool"
    )


class Projection(Section):
    """The projection head g: h -> projection z (Sec. 4.2)."""

    depth: int = setting(
        2, unit="dense layers", paper="Sec. 4.2, Fig. 8", ge=0, le=8, about="0 none, 1 linear"
    )
    out_dim: int = setting(128, unit="width of z", paper="Sec. 2.2, Fig. 8", ge=2, le=8192)


class Loss(Section):
    """The contrastive loss on z (Sec. 2.1, Sec. 5.1)."""

    name: Literal["nt_xent", "nt_logistic", "margin_triplet"] = setting(
        "nt_xent", unit="name", paper="Eq. 1, Table 2"
    )
    temperature: float = setting(0.1, unit="divides similarities", paper="Table 5", gt=0, le=1000)
    margin: float = setting(
        0.4, unit="similarity", paper="Table 2, App. B.10", ge=0, le=1000, about="margin_triplet's"
    )
    semi_hard: bool = setting(
        False, unit="flag", paper="Table 4", about="one semi-hard negative an anchor; not nt_xent"
    )
    normalize: bool = setting(True, unit="l2 norm on z", paper="Table 5")
    negatives: Literal["both_views", "one_view"] = setting(
        "both_views", unit="name", paper="Eq. 1, Table 4"
    )
    scale: Literal["code", "paper"] = setting(
        "code",
        unit="name",
        paper="Alg. 1",
        about="code: twice Eq. 1's mean, as in the official code that gave the published numbers",
    )


class BatchNorm(Section):
    """Whose statistics normalise whom (Sec. 2.2)."""

    group_images: PositiveInt | Literal["whole"] = setting(
        "whole", unit="images of the global batch", paper="Sec. 2.2", about="both views of each"
    )


class Optimizer(Section):
    """Optimizer and learning-rate schedule (Sec. 2.2, App. B.1)."""

    name: Literal["lars", "sgd", "adamw"] = setting("lars", unit="name", paper="Sec. 2.2")
    learning_rate: float = setting(
        0.3, unit="per the rule's unit", paper="Sec. 2.2, Table B.1", gt=0, le=100
    )
    learning_rate_rule: LearningRateRule = setting(
        "linear", unit="name", paper="App. B.1", about="linear: rate per 256 images"
    )
    warmup: float = setting(10.0, unit="see warmup_unit", paper="Sec. 2.2", ge=0)
    warmup_unit: Literal["epochs", "fraction"] = setting(
        "epochs", unit="name", paper="Sec. 2.2", about="fraction: of all steps"
    )
    schedule: Literal["cosine", "constant"] = setting("cosine", unit="name", paper="Sec. 2.2")
    momentum: float = setting(0.9, unit="fraction kept", paper="App. B.1", ge=0, lt=1)
    weight_decay: float = setting(1e-6, unit="per step", paper="Sec. 2.2", ge=0, lt=1)
    trust_coefficient: float = setting(1e-3, unit="ratio", paper="official code", gt=0)
    nesterov: bool = setting(False, unit="flag", paper="official code")

    @model_validator(mode="after")
    def _rule_with_its_rate(self) -> Self:
        given = self.model_fields_set
        if self.learning_rate_rule != "linear" and "learning_rate" not in given:
            raise ValueError(
                f"learning_rate_rule is {self.learning_rate_rule!r} without a learning_rate; "
                "allowed: both together (the paper's are linear 0.3 and sqrt 0.075)"
            )
        return self


class Compute(Section):
    """How numbers are represented; part of the recipe because it changes the bits of the result."""

    precision: Literal["float32", "bfloat16", "float64"] = setting(
        "float32", unit="name", paper="-", about="bfloat16: autocast around encoder and head"
    )
    channels_last: bool = setting(False, unit="memory layout of images", paper="-")


class Evaluation(Section):
    """The evaluations wanted of the finished encoder; not part of a cell's key (App. B.6)."""

    protocols: Annotated[tuple[Protocol, ...], BeforeValidator(tuple)] = setting(
        ("ridge", "linear"), unit="names", paper="Sec. 2.2", about="ridge is the cheap metric"
    )
    fit_images: PositiveInt | Literal["all"] = setting(
        "all", unit="labelled training images", paper="App. B.6"
    )
    linear_refit: Literal["train", "train+val"] = setting(
        "train", unit="split", paper="App. B.8", about="what the final linear classifier sees"
    )


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
    def trains(self) -> bool:
        """Whether there is anything to optimise: not for a random encoder or raw pixels."""
        return self.epochs > 0 and self.encoder.kind != "raw_pixels"

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
        flat["data.pretrain_images"] = self.pretrain_images
        if flat["batch_norm.group_images"] == self.batch_size:
            flat["batch_norm.group_images"] = "whole"
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
        return {name for name, _ in leaves(Recipe)} - kept
    optimizer, augment, loss = recipe.optimizer, recipe.augment, recipe.loss
    rules: list[tuple[bool, list[str]]] = [
        (loss.name == "nt_xent", ["loss.semi_hard"]),
        (loss.name == "margin_triplet", ["loss.temperature"]),
        (loss.name != "margin_triplet", ["loss.margin"]),
        (recipe.projection.depth == 0, ["projection.out_dim"]),
        (augment.jitter_probability == 0, ["augment.color_strength"]),
        (
            augment.blur_probability == 0,
            ["augment.blur_sigma_min", "augment.blur_sigma_max", "augment.blur_sigma_scope"],
        ),
        (optimizer.name != "lars", ["optimizer.trust_coefficient"]),
        (optimizer.name == "adamw", ["optimizer.momentum", "optimizer.nesterov"]),
        (optimizer.momentum == 0, ["optimizer.nesterov"]),
        (optimizer.warmup == 0, ["optimizer.warmup_unit"]),
    ]
    return {name for holds, names in rules if holds for name in names}
