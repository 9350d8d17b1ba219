"""What ablations and sweeps share: metric, seeds, scales, and how their errors are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from simclr_lab.fields import FieldError
from simclr_lab.names import METRIC_FORMS, is_metric
from simclr_lab.spaces.errors import StudyError


def _seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise ValueError("allowed: different, not negative, at least one")
    return seeds


def _metric(metric: str) -> str:
    if not is_metric(metric):
        raise ValueError(f"allowed: {METRIC_FORMS}")
    return metric


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Seeds = Annotated[tuple[int, ...], BeforeValidator(_tuple), AfterValidator(_seeds)]
Metric = Annotated[str, AfterValidator(_metric)]


class StudyBase(BaseModel):
    """Fields of every study; frozen, strict, nothing unknown."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    file: Path = Field(exclude=True)
    text: str = Field(exclude=True, repr=False)
    paper: str = ""
    question: str = ""
    metric: Metric

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.file.stem

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Name this file in whatever field is wrong inside."""
        try:
            yield
        except FieldError as error:
            raise StudyError(self.file, error.field, error.problem) from None


def protocol_of(metric: str) -> str:
    """``linear/test_top1`` -> ``linear``."""
    return metric.split("/", 1)[0]
