"""What travels to a worker; apart from what runs there, so that the driver imports no training."""

from dataclasses import dataclass

from simclr_lab.recipe import Recipe


@dataclass(frozen=True)
class CellTask:
    """What a worker needs to know of a cell; plain data that travels to it."""

    key: str
    recipe: Recipe
    seed: int
    storage: str
    attempt: int = 0
