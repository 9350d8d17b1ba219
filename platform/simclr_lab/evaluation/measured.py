"""What a protocol found: numbers, and the arrays behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Measured:
    """``metrics`` by name, accuracies in percent; ``arrays`` that figures and tests need later."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, Tensor] = field(default_factory=dict)

    def under(self, protocol: str) -> "Measured":
        """The same with every name as ``<protocol>/<name>``."""
        return Measured(
            {f"{protocol}/{name}": value for name, value in self.metrics.items()},
            {f"{protocol}/{name}": value for name, value in self.arrays.items()},
        )

    def __or__(self, other: "Measured") -> "Measured":
        return Measured({**self.metrics, **other.metrics}, {**self.arrays, **other.arrays})
