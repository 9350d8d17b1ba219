"""What planned cells will cost: hours, memory, disk and money, from records and probes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from simclr_lab.cell import CellRecord, State
from simclr_lab.cli.prices import Prices
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.costs import encoder_numbers, head_numbers
from simclr_lab.training.probing import Probed, Prober, Shape, shape_of
from simclr_lab.tuning.plan import Action, PlannedCell


@dataclass(frozen=True)
class Estimate:
    """What a launch will cost.

    ``worker_hours`` and ``hours`` are None where a shape has never been measured; the latter count
    from the first cell to the last on ``slots`` workers. ``memory_bytes`` is the largest worker's
    that a probe saw. ``unmeasured`` says why of which shape nothing is known; ``too_large`` lists
    what a worker's memory cannot hold.
    """

    cells: int
    widest: int
    disk_bytes: int
    slots: int | None
    worker_hours: float | None = None
    hours: float | None = None
    evaluation_counted: bool = False
    memory_bytes: int | None = None
    price: tuple[float, str] | None = None
    unmeasured: tuple[str, ...] = ()
    too_large: tuple[tuple[Recipe, int, Probed], ...] = ()


@dataclass(frozen=True)
class Rate:
    """Images of the global batch a second, and seconds of the final evaluation if known."""

    images_per_second: float
    evaluation_seconds: float | None = None


@dataclass
class Estimator:
    """Estimates from what the ledger measured on this hardware, else from probes.

    Args:
        known: key -> record.
        prober: what is known of a shape's step.
        may_probe: measure shapes of which nothing is known.
        hardware: of this machine, as records are tagged with it.
        slots: workers that run at once; None where nobody knows yet.
        prices: money for an hour.
        on_gpus: whether workers hold GPUs.
    """

    known: Mapping[str, CellRecord]
    prober: Prober
    may_probe: bool
    hardware: str
    slots: int | None
    prices: Prices | None = None
    on_gpus: bool = False
    _recorded: dict[Shape, Rate] = field(init=False)

    def __post_init__(self) -> None:
        self._recorded = recorded_rates(self.known.values(), self.hardware)

    def __call__(
        self, cells: Sequence[PlannedCell], *, keeps_checkpoints: bool = False
    ) -> Estimate:
        """The costs of the cells that need a worker.

        ``keeps_checkpoints``: cells may be pruned, and then keep their last checkpoint.
        """
        ahead = [cell for cell in cells if cell.launches]
        rates: dict[Shape, Rate | None] = {}
        probed: dict[Shape, Probed | None] = {}
        for cell in ahead:
            shape = shape_of(cell.recipe.flat(), cell.workers)
            if shape not in rates and cell.recipe.trains:
                probed[shape] = self._probed(cell, shape)
                rates[shape] = self._recorded.get(shape) or _rate(cell.recipe, probed[shape])
        seconds = [_seconds(cell, rates, self._recorded) for cell in ahead]
        hours = _sum([s and s * c.workers for s, c in zip(seconds, ahead, strict=True)])
        wall = self._wall(seconds, hours)
        found = [probe for probe in probed.values() if probe is not None]
        return Estimate(
            cells=len(ahead),
            widest=max((cell.workers for cell in ahead), default=0),
            disk_bytes=disk_bytes(ahead, self.slots or 1, keeps_checkpoints=keeps_checkpoints),
            slots=self.slots,
            worker_hours=hours,
            hours=wall,
            evaluation_counted=all(
                self._recorded.get(shape) is not None for shape in rates if rates[shape]
            ),
            memory_bytes=max((p.memory_bytes for p in found if p.memory_bytes), default=None),
            price=self._price(hours),
            unmeasured=tuple(dict.fromkeys(probe.problem for probe in found if probe.problem)),
            too_large=tuple(_too_large(ahead, probed)),
        )

    def _probed(self, cell: PlannedCell, shape: Shape) -> Probed | None:
        if self.may_probe and shape not in self._recorded:
            return self.prober(cell.recipe, cell.workers)
        return self.prober.known(cell.recipe, cell.workers)

    def _wall(self, seconds: Sequence[float | None], worker_hours: float | None) -> float | None:
        """The larger of the longest cell and of all the work spread over the slots."""
        if worker_hours is None or self.slots is None:
            return None
        longest = max((s or 0.0 for s in seconds), default=0.0)
        return max(longest / 3600, worker_hours / self.slots)

    def _price(self, worker_hours: float | None) -> tuple[float, str] | None:
        if self.prices is None or worker_hours is None:
            return None
        amount = self.prices.of(worker_hours, on_gpus=self.on_gpus)
        return None if amount is None else (amount, self.prices.currency)


def recorded_rates(records: Iterable[CellRecord], hardware: str) -> dict[Shape, Rate]:
    """What finished cells measured on this hardware, by shape."""
    rates: dict[Shape, Rate] = {}
    for record in records:
        rate = record.metrics.get("cost/images_per_second")
        here = record.tags.get("hardware", hardware) == hardware
        if record.state is State.FINISHED and rate and here:
            evaluation = record.metrics.get("cost/evaluation_seconds")
            rates[shape_of(record.recipe, record.world_size or 1)] = Rate(rate, evaluation)
    return rates


def disk_bytes(cells: Sequence[PlannedCell], slots: int, *, keeps_checkpoints: bool) -> int:
    """Most that the cells' files hold: an encoder each, two checkpoints of each that runs."""
    new = [cell.recipe for cell in cells if cell.action is not Action.EVALUATE]
    checkpoints = sorted(map(_checkpoint_bytes, new), reverse=True)
    writing = 2 * sum(checkpoints[:slots])
    if keeps_checkpoints:
        return writing + sum(checkpoints)
    return writing + sum(map(_final_bytes, new))


def _final_bytes(recipe: Recipe) -> int:
    size = 8 if recipe.compute.precision == "float64" else 4
    return size * (encoder_numbers(recipe) + head_numbers(recipe))


def _checkpoint_bytes(recipe: Recipe) -> int:
    """Weights, and what the optimizer remembers of each."""
    if not recipe.trains:
        return _final_bytes(recipe)
    remembered = 2 if recipe.optimizer.name == "adamw" else 1
    return _final_bytes(recipe) * (1 + remembered)


def _rate(recipe: Recipe, probed: Probed | None) -> Rate | None:
    if probed is None or not probed.seconds_per_step:
        return None
    return Rate(recipe.batch_size / probed.seconds_per_step)


def _seconds(
    cell: PlannedCell, rates: Mapping[Shape, Rate | None], recorded: Mapping[Shape, Rate]
) -> float | None:
    """Seconds of one cell; None where its shape has not been measured."""
    if not cell.recipe.trains:
        return 0.0
    shape = shape_of(cell.recipe.flat(), cell.workers)
    rate = rates[shape]
    seconds = 0.0
    if cell.action is not Action.EVALUATE:
        if rate is None:
            return None
        seconds = cell.recipe.total_steps * cell.recipe.batch_size / rate.images_per_second
    measured = recorded.get(shape)
    return seconds + ((measured.evaluation_seconds or 0.0) if measured else 0.0)


def _sum(seconds: Sequence[float | None]) -> float | None:
    known = [each for each in seconds if each is not None]
    return sum(known) / 3600 if len(known) == len(seconds) else None


def _too_large(
    cells: Sequence[PlannedCell], probed: Mapping[Shape, Probed | None]
) -> Iterable[tuple[Recipe, int, Probed]]:
    """The first cell of each shape that a probe could not hold."""
    seen: set[Shape] = set()
    for cell in cells:
        shape = shape_of(cell.recipe.flat(), cell.workers)
        found = probed.get(shape)
        if found is not None and found.out_of_memory and shape not in seen:
            seen.add(shape)
            yield cell.recipe, cell.workers, found
