"""What an hour costs, from a TOML file: ``currency = "EUR"``, ``gpu_hour`` and ``worker_hour``."""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

from simclr_lab.fields import FieldError

_RATES = ("worker_hour", "gpu_hour")


@dataclass(frozen=True)
class Prices:
    """Money for an hour of one worker: of its GPU, or of a worker on processors."""

    currency: str
    worker_hour: float | None = None
    gpu_hour: float | None = None

    def of(self, worker_hours: float, *, on_gpus: bool) -> float | None:
        """What so many hours cost; None where the file has no price for such workers."""
        rate = self.gpu_hour if on_gpus else self.worker_hour
        return None if rate is None else worker_hours * rate


def load_prices(path: Path) -> Prices:
    """Read a price file. Raises FieldError naming the file, the field and what is allowed."""
    where = f"--prices {path}"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FieldError(where, f"cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise FieldError(where, f"is not TOML: {error}") from None
    for name, value in content.items():
        if name not in ("currency", *_RATES):
            raise FieldError(f"{where}: {name}", f"allowed: currency, {', '.join(_RATES)}")
        if name in _RATES and not _is_price(value):
            raise FieldError(f"{where}: {name}", f"is {value!r}; allowed: a number, 0 or more")
    currency = content.get("currency")
    if not isinstance(currency, str) or not currency:
        raise FieldError(f"{where}: currency", f"is {currency!r}; allowed: a name, such as 'USD'")
    if not any(name in content for name in _RATES):
        raise FieldError(where, f"has no price; allowed: {' or '.join(_RATES)}, or both")
    return Prices(**content)


def _is_price(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0  # type: ignore[operator, arg-type]
