"""The sections of a recipe: every field with its unit and the paper's section.

Defaults are the paper's own ImageNet settings (Chen et al. 2020, arXiv 2002.05709v3).
"""

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from simclr_lab.fields import setting
from simclr_lab.steps import LearningRateRule

OperatorName = Literal[
    "crop",
    "color",
    "blur",
    "rotate",
    "cutout",
    "noise",
    "sobel",
    "equalize",
    "solarize",
    "motion_blur",
    "autoaugment",
]
TF_MAX_STRENGTH = 1.25
SIMCLR_OPERATORS = ("crop", "color", "blur")


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

    semantics: Literal["tf", "torchvision"] = setting(
        "tf", unit="name", paper="App. A", about="whose image operators; tf: the official code's"
    )
    crop: Literal["of_semantics", "tf", "torchvision"] = setting(
        "of_semantics",
        unit="name",
        paper="App. A",
        about="whose sampler and resize, the other operators' or another's: tf draws the side, "
        "torchvision the area; whole images are resized by it too",
        neutral="of_semantics",
    )
    brightness: Literal["of_semantics", "additive", "multiplicative"] = setting(
        "of_semantics",
        unit="name",
        paper="App. A",
        about="of_semantics: tf adds, torchvision multiplies; the official code, tf otherwise, "
        "multiplies since its second version",
        neutral="of_semantics",
    )
    operators: Annotated[tuple[OperatorName, ...], BeforeValidator(tuple)] = setting(
        SIMCLR_OPERATORS,
        unit="names, in order",
        paper="App. A, Fig. 5",
        about="crop includes the flip, color is jitter and colour drop",
        neutral=SIMCLR_OPERATORS,
    )
    branches: Literal["both", "second"] = setting(
        "both",
        unit="name",
        paper="Fig. 5",
        about="second: one shared crop, the operators on the second view alone",
        neutral="both",
    )
    base_flip: bool = setting(
        True,
        unit="flag",
        paper="Fig. 5",
        about="whether the shared crop of branches 'second' is also mirrored, by flip_probability; "
        "the paper does not say",
        neutral=True,
    )
    crop_area_min: float = setting(0.08, unit="fraction of the image", paper="App. A", gt=0, le=1)
    flip_probability: float = setting(0.5, unit="probability", paper="App. A", ge=0, le=1)
    jitter_probability: float = setting(0.8, unit="probability", paper="App. A", ge=0, le=1)
    color_strength: float = setting(
        1.0, unit="multiple of the paper's ranges", paper="App. A, Table 1", ge=0, le=2.5
    )
    color_drop_probability: float = setting(0.2, unit="probability", paper="App. A", ge=0, le=1)
    blur_probability: float = setting(0.5, unit="probability", paper="App. A", ge=0, le=1)
    blur_sigma_min: float = setting(0.1, unit="pixels", paper="App. A", gt=0)
    blur_sigma_max: float = setting(2.0, unit="pixels", paper="App. A", gt=0)
    blur_sigma_scope: Literal["image", "batch"] = setting(
        "batch", unit="name", paper="App. A", about="who shares a sigma: one image, or one view"
    )

    cutout_probability: float = setting(1.0, unit="probability", paper="Fig. 4", ge=0, le=1)
    cutout_position: Literal["inside", "anywhere"] = setting(
        "inside",
        unit="name",
        paper="Fig. 4",
        about="not published; inside: the whole square is, anywhere: its centre is, clipped",
        neutral="inside",
    )
    noise_probability: float = setting(1.0, unit="probability", paper="Fig. 4", ge=0, le=1)
    noise_level_max: float = setting(
        0.2,
        unit="weight of the noise",
        paper="Fig. 4",
        ge=0,
        le=1,
        about="the largest; see noise_law",
    )
    noise_law: Literal["uniform", "constant"] = setting(
        "uniform",
        unit="name",
        paper="Fig. 4",
        about="of the weight, not published; constant: always noise_level_max",
        neutral="uniform",
    )
    sobel_probability: float = setting(1.0, unit="probability", paper="Fig. 4", ge=0, le=1)
    sobel_scaling: Literal["min_max", "fixed"] = setting(
        "min_max",
        unit="name",
        paper="Fig. 4",
        about="min_max: each image's own range, as the example's; fixed: 0.5 + gradient / 12",
        neutral="min_max",
    )
    equalize_probability: float = setting(0.2, unit="probability", paper="App. B.2", ge=0, le=1)
    solarize_probability: float = setting(0.2, unit="probability", paper="App. B.2", ge=0, le=1)
    solarize_threshold: float = setting(0.5, unit="brightness", paper="App. B.2", ge=0, le=1)
    motion_blur_probability: float = setting(0.2, unit="probability", paper="App. B.2", ge=0, le=1)
    autoaugment_policy: Literal["imagenet", "cifar10", "svhn"] = setting(
        "imagenet", unit="name", paper="Table 1", about="the labelled dataset it was searched on"
    )

    @field_validator("color_strength")
    @classmethod
    def _strength_of_semantics(cls, value: float, info: ValidationInfo) -> float:
        if value > TF_MAX_STRENGTH and info.data.get("semantics") == "tf":
            raise ValueError(
                f"allowed: 0 to {TF_MAX_STRENGTH} under augment.semantics 'tf', whose factors "
                "would turn negative beyond it"
            )
        return value

    def said_by_semantics(self) -> dict[str, str]:
        """What ``of_semantics`` stands for in the fields that have it."""
        brightness = {"tf": "additive", "torchvision": "multiplicative"}[self.semantics]
        return {"crop": self.semantics, "brightness": brightness}

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
    variant: Literal["paper", "torchvision"] = setting(
        "paper",
        unit="name",
        paper="official code",
        about="paper: the first block of every stage projects its shortcut, and the pool pads as "
        "TensorFlow's; torchvision: as torchvision's networks",
        neutral="paper",
    )


class Projection(Section):
    """The projection head g: h -> projection z (Sec. 4.2)."""

    depth: int = setting(
        2, unit="dense layers", paper="Sec. 4.2, Fig. 8", ge=0, le=8, about="0 none, 1 linear"
    )
    out_dim: int = setting(128, unit="width of z", paper="Sec. 2.2, Fig. 8", ge=2, le=8192)


class Loss(Section):
    """The loss on z (Sec. 2.1, Sec. 5.1), or on labels for the supervised baseline."""

    name: Literal["nt_xent", "nt_logistic", "margin_triplet", "cross_entropy"] = setting(
        "nt_xent",
        unit="name",
        paper="Eq. 1, Table 2",
        about="cross_entropy: the supervised baseline of Table 1, a linear classifier on h",
    )
    temperature: float = setting(0.1, unit="divides similarities", paper="Table 5", gt=0, le=1000)
    margin: float = setting(
        0.4, unit="similarity", paper="Table 2, App. B.10", ge=0, le=1000, about="margin_triplet's"
    )
    semi_hard: bool = setting(
        False,
        unit="flag",
        paper="Table 4",
        about="one semi-hard negative an anchor, of nt_logistic and margin_triplet; nt_xent and "
        "cross_entropy ignore it, and so do their keys",
    )
    without_candidate: Literal["skip", "easiest"] = setting(
        "skip",
        unit="name",
        paper="App. B.10",
        about="a semi-hard anchor without an admissible negative, not published; skip: counts as "
        "zero, easiest: takes its least similar negative",
        neutral="skip",
    )
    reduction: Literal["mean", "sum"] = setting(
        "mean",
        unit="over an anchor's negatives",
        paper="Table 2",
        about="of nt_logistic and margin_triplet, not published; the mean keeps one positive and "
        "many negatives in balance",
        neutral="mean",
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

    @model_validator(mode="after")
    def _some_negative(self) -> Self:
        nothing = self.semi_hard and self.margin == 0 and self.without_candidate == "skip"
        if self.name == "margin_triplet" and nothing:
            raise ValueError(
                "margin is 0 with semi_hard true, which leaves no negative between the positive "
                "and the margin: the loss would be 0; allowed: a margin above 0, semi_hard false, "
                "or without_candidate 'easiest'"
            )
        return self


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
    """How numbers are computed; what changes the bits of the result is part of a cell's key."""

    precision: Literal["float32", "bfloat16", "float64"] = setting(
        "float32", unit="name", paper="-", about="bfloat16: autocast around encoder and head"
    )
    channels_last: bool = setting(False, unit="memory layout of images", paper="-")
    micro_batch_size: PositiveInt | Literal["whole"] = setting(
        "whole",
        unit="images embedded at a time by a worker",
        paper="-",
        about="saves memory, changes nothing, hence no part of a cell's key",
    )
    activation_checkpointing: bool = setting(
        False,
        unit="flag",
        paper="-",
        about="compute activations again in the backward: saves memory, changes nothing, works "
        "with batch norm over the whole batch; no part of a cell's key",
    )
