"""Sweeps: a search over domains."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt

from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.costs import COSTS
from simclr_lab.spaces.domain import Domain, ordered, parse_domain, searched
from simclr_lab.spaces.search import PRUNING_METRIC, Pruning, Sampler
from simclr_lab.spaces.study import Metric, Seeds, StudyBase, protocol_of
from simclr_lab.spaces.tree import field_leaves

Direction = Literal["maximize", "minimize"]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _cost(metric: str) -> str:
    if metric not in COSTS:
        raise ValueError(f"allowed: {', '.join(COSTS)}")
    return metric


Cost = Annotated[str, AfterValidator(_cost)]


class SweepScale(BaseModel):
    """What a sweep changes at one scale."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    trials: PositiveInt | None = None
    seeds: Seeds | None = None
    space: dict[str, Any] = Field(default_factory=dict)
    pruning: Pruning | None = None


class Sweep(StudyBase):
    """Optuna proposes points of the space; the metric, on validation, judges them.

    ``maximize`` and ``minimize`` name further metrics to be searched together with ``metric``.
    """

    trials: PositiveInt
    space: dict[str, Any] = Field(min_length=1)
    maximize: Annotated[tuple[Metric, ...], BeforeValidator(_tuple)] = ()
    minimize: Annotated[tuple[Cost, ...], BeforeValidator(_tuple)] = ()
    first: Annotated[tuple[dict[str, Any], ...], BeforeValidator(_tuple)] = ()
    seeds: Seeds = (0,)
    sampler: Sampler = Sampler()
    pruning: Pruning | None = None
    scale: dict[str, SweepScale] = Field(default_factory=dict)

    @property
    def objectives(self) -> dict[str, Direction]:
        """Metric -> which way is better; the sweep's own metric first."""
        more: dict[str, Direction] = dict.fromkeys((self.metric, *self.maximize), "maximize")
        return more | dict.fromkeys(self.minimize, "minimize")

    def seeds_at(self, scale: str) -> tuple[int, ...]:
        """The study's seeds at a scale; every proposal is run with the first."""
        own = self.scale.get(scale)
        return own.seeds if own and own.seeds else self.seeds

    def trials_at(self, scale: str) -> int:
        """Different cells wanted at a scale."""
        own = self.scale.get(scale)
        return own.trials if own and own.trials else self.trials

    def pruning_at(self, scale: str) -> Pruning | None:
        """Who is stopped early at a scale, if anyone is."""
        own = self.scale.get(scale)
        return own.pruning if own and own.pruning else self.pruning

    def base_at(self, base: Recipe, scale: str) -> Recipe:
        """The scale's recipe with the protocols of everything that is judged switched on."""
        judged = [
            self.metric,
            *self.maximize,
            *([PRUNING_METRIC] if self.pruning_at(scale) else []),
        ]
        protocols = base.evaluation.protocols
        wanted = dict.fromkeys([*protocols, *map(protocol_of, judged)])
        return base.with_fields({"evaluation.protocols": list(wanted)})

    def domains(self, base: Recipe, scale: str) -> dict[str, Domain]:
        """Dotted field -> domain at a scale, conditions before what depends on them.

        Raises StudyError.
        """
        with self.errors():
            leaves = field_leaves(self.space, base)
            own = self.scale.get(scale)
            leaves |= field_leaves(own.space, base) if own else {}
            return ordered({name: parse_domain(name, leaf, base) for name, leaf in leaves.items()})

    def first_points(self, base: Recipe, scale: str) -> list[dict[str, Any]]:
        """Points to be tried before Optuna proposes its own; what a point leaves open is proposed.

        Raises StudyError for a field that is not searched, a value outside its domain, or a field
        whose condition the point does not meet.
        """
        domains = self.domains(base, scale)
        points = []
        with self.errors():
            for index, tree in enumerate(self.first):
                point = field_leaves(tree, base)
                for name, value in point.items():
                    _check_first(f"first.{index}.{name}", name, value, point, domains)
                points.append(point)
        return points

    def check(self, base: Recipe, scale: str) -> None:
        """Raises StudyError unless the sweep can be run honestly at the scale."""
        domains = self.domains(base, scale)
        with self.errors():
            self._check_metrics(scale)
            if "batch_size" in domains and "optimizer.learning_rate" not in domains:
                raise FieldError(
                    "space.batch_size",
                    "is searched without optimizer.learning_rate; allowed: both together, since "
                    "the best rate depends on the batch",
                )
            evaluation = [name for name in domains if name.startswith("evaluation.")]
            if evaluation:
                raise FieldError(evaluation[0], "judges the encoder; it cannot be searched")
            if self.pruning_at(scale) and "epochs" in domains:
                raise FieldError(
                    "space.epochs", "is searched and is what pruning spends; allowed: one of both"
                )
        self.first_points(base, scale)

    def _check_metrics(self, scale: str) -> None:
        named = [("metric", self.metric), *(("maximize", name) for name in self.maximize)]
        for field, metric in named:
            if "test" in metric:
                raise FieldError(field, f"is {metric!r}; allowed in a sweep: val metrics")
        every = [self.metric, *self.maximize, *self.minimize]
        twice = [name for name in every if every.count(name) > 1]
        if twice:
            raise FieldError("maximize", f"holds {twice[0]!r} twice, or the sweep's metric again")
        if len(every) > 1 and self.pruning_at(scale):
            raise FieldError(
                "pruning", "prunes a sweep of several metrics; allowed: one metric, or no pruning"
            )
        if len(every) == 1 and self.sampler.name == "nsga2":
            raise FieldError(
                "sampler.name",
                "is 'nsga2' with one metric; allowed: tpe, gp, random, qmc, or more metrics "
                "(maximize, minimize)",
            )


def _check_first(
    field: str, name: str, value: Any, point: dict[str, Any], domains: dict[str, Domain]
) -> None:
    """Raises FieldError unless a point may set the searched field to the value."""
    if name not in domains:
        raise FieldError(field, f"is not searched; allowed: {', '.join(domains)}")
    domain = domains[name]
    if not domain.holds(value):
        raise FieldError(field, f"is {value!r}; allowed: values of its domain, {domain}")
    if not searched(domain, point):
        wanted = " and ".join(f"{other} in {list(values)}" for other, values in domain.when)
        raise FieldError(field, f"is searched only when {wanted}; the point must say so itself")
