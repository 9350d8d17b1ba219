"""Small stand-ins for tests of tuning."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simclr_lab.identity import cell_key
from simclr_lab.recipes import named_recipe
from simclr_lab.training.events import CellEvent, EndEvent
from simclr_lab.tuning.plan import Action, PlannedCell


def planned_cell(seed: int, workers: int = 1) -> PlannedCell:
    recipe = named_recipe("demo")
    return PlannedCell(cell_key(recipe, seed, "d"), "arm", seed, recipe, Action.RUN, workers)


@dataclass
class FakeSource:
    """Hands out what it was given, the last of it for ever, and keeps the ends it was told."""

    answers: list[Any]
    ends: list[tuple[PlannedCell, EndEvent]] = field(default_factory=list)
    reports: list[CellEvent] = field(default_factory=list)
    stops: Callable[[CellEvent], bool] = lambda event: False

    def next_cell(self) -> Any:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def ended(self, cell: PlannedCell, end: EndEvent) -> None:
        self.ends.append((cell, end))

    def reported(self, cell: PlannedCell, event: CellEvent) -> bool:
        self.reports.append(event)
        return self.stops(event)

    def widest(self) -> int:
        return 1

    def remaining(self) -> int:
        return len(self.answers)
