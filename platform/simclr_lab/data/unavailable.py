"""The one error of a dataset that cannot be had."""

from collections.abc import Mapping


class DataUnavailable(RuntimeError):  # noqa: N818 - reads as what it says
    """No source of a dataset works here; ``reasons`` has one line per source."""

    def __init__(self, name: str, reasons: Mapping[str, str]) -> None:
        lines = "\n".join(f"  {source}: {reason}" for source, reason in reasons.items())
        super().__init__(f"{name} cannot be had here:\n{lines}")
        self.name, self.reasons = name, dict(reasons)
