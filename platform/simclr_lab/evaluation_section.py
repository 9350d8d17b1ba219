"""The evaluations wanted of a finished encoder, and their settings: never part of a cell's key."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator

from simclr_lab.fields import setting
from simclr_lab.names import PROTOCOLS, is_protocol
from simclr_lab.sections import Section


class Evaluation(Section):
    """The evaluations wanted of the finished encoder; not part of a cell's key (App. B.6)."""

    protocols: Annotated[tuple[str, ...], BeforeValidator(tuple)] = setting(
        ("ridge", "linear"), unit="names", paper="Sec. 2.2", about="ridge is the cheap metric"
    )
    fit_images: PositiveInt | Literal["all"] = setting(
        "all", unit="labelled training images", paper="App. B.6"
    )
    linear_refit: Literal["train", "train+val"] = setting(
        "train", unit="split", paper="App. B.8", about="what the final linear classifier sees"
    )
    sgd_epochs: PositiveInt = setting(90, unit="epochs of linear_sgd", paper="App. B.6")
    sgd_batch_size: PositiveInt = setting(4096, unit="images", paper="App. B.6")
    sgd_learning_rate: float = setting(0.1, unit="per 256 images", paper="App. B.6", gt=0)
    sgd_augment: bool = setting(True, unit="flag", paper="App. B.6", about="crop and flip")
    sgd_schedule: Literal["cosine", "constant"] = setting(
        "cosine", unit="name", paper="App. B.6", about="the paper names none; the code's is cosine"
    )
    finetune_epochs_1pct: PositiveInt = setting(60, unit="epochs", paper="App. B.5")
    finetune_epochs_10pct: PositiveInt = setting(30, unit="epochs", paper="App. B.5")
    finetune_batch_size: PositiveInt = setting(
        4096, unit="images", paper="App. B.5", about="all labelled images where they are fewer"
    )
    finetune_learning_rate: float = setting(0.05, unit="per 256 images", paper="App. B.5", gt=0)
    finetune_schedule: Literal["cosine", "constant"] = setting(
        "cosine", unit="name", paper="App. B.5", about="the paper names none; the code's is cosine"
    )
    transfer_fit_images: PositiveInt | Literal["all"] = setting(
        "all", unit="labelled images of the target", paper="App. B.8"
    )
    transfer_strengths: int = setting(
        45, unit="penalties from 1e-6 to 1e5", paper="App. B.8", ge=1, le=1000
    )
    transfer_steps: PositiveInt = setting(20_000, unit="steps of fine-tuning", paper="App. B.8")
    transfer_batch_size: PositiveInt = setting(256, unit="images", paper="App. B.8")
    transfer_learning_rates: Annotated[
        tuple[Annotated[float, Field(gt=0, le=100)], ...], BeforeValidator(tuple)
    ] = setting(
        tuple(10 ** (-4 + half / 2) for half in range(7)),
        unit="peak",
        paper="App. B.8",
        min_length=1,
        about="tried in fine-tuning; ten times as high for a random encoder",
    )
    transfer_weight_decays: Annotated[
        tuple[Annotated[float, Field(ge=0, le=100)], ...], BeforeValidator(tuple)
    ] = setting(
        (*(10 ** (-6 + half / 2) for half in range(7)), 0.0),
        unit="divided by the learning rate",
        paper="App. B.8",
        min_length=1,
    )
    probe_color_strength: float = setting(
        1.0,
        unit="multiple of the paper's ranges",
        paper="Table 3",
        ge=0,
        le=1.25,
        about="jitter under what the transformation probes ask about, for every encoder alike",
    )
    probe_hidden_units: PositiveInt = setting(256, unit="units", paper="Table 3")
    probe_iterations: PositiveInt = setting(60, unit="epochs at most", paper="Table 3")
    tsne_images: int = setting(2000, unit="validation images", paper="App. B.4", ge=10)
    tsne_perplexity: float = setting(30.0, unit="neighbours", paper="App. B.4", gt=1)

    @field_validator("protocols")
    @classmethod
    def _known(cls, protocols: tuple[str, ...]) -> tuple[str, ...]:
        for name in protocols:
            if not is_protocol(name):
                raise ValueError(
                    f"holds {name!r}; allowed: {', '.join(PROTOCOLS)}, transfer_DATASET, "
                    "transfer_finetune_DATASET"
                )
        return protocols
