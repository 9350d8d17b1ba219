"""What makes a comparison of arms unfair; refused before anything is run."""

from collections.abc import Sequence
from typing import Any, Protocol

from simclr_lab.fields import FieldError
from simclr_lab.recipe import Recipe
from simclr_lab.spaces.designs import judges
from simclr_lab.spaces.nuisance import Nuisance, ends

RATE, RULE, BATCH = "optimizer.learning_rate", "optimizer.learning_rate_rule", "batch_size"


class Compared(Protocol):
    """An arm, as far as fairness needs to know it."""

    @property
    def label(self) -> str:
        """Its readable name."""
        ...

    @property
    def changes(self) -> dict[str, Any]:
        """What it changes of the baseline."""
        ...

    @property
    def recipe(self) -> Recipe:
        """Its complete settings."""
        ...


def refuse_judging_arms(varied: Sequence[str]) -> None:
    """Raises FieldError where arms differ in how they are judged: a cell has one such result."""
    for name in filter(judges, varied):
        raise FieldError(name, "judges the encoder; it cannot tell arms apart, set it in baseline")


def refuse_unfair_nuisance(arms: Sequence[Compared], nuisance: Nuisance) -> None:
    """Raises FieldError where a tuned field is fixed by an arm, or impossible in one."""
    for arm in arms:
        for name, domain in nuisance.domains.items():
            if name in arm.changes:
                raise FieldError(
                    f"nuisance.{name}",
                    f"is fixed by the arm {arm.label} too; allowed: tuned inside the arms or "
                    "varied over them, not both",
                )
            for value in ends(domain):
                _require_possible(arm, name, value)


def _require_possible(arm: Compared, name: str, value: Any) -> None:
    try:
        arm.recipe.with_fields({name: value})
    except FieldError as error:
        raise FieldError(
            f"nuisance.{name}",
            f"is impossible at {value!r} in the arm {arm.label} ({error}); allowed: a domain that "
            "every arm can use whole, for an equal budget",
        ) from None


def require_rate_per_batch(arms: Sequence[Compared], nuisance: Nuisance | None) -> None:
    """Raises FieldError for batch sizes compared at one learning rate that nobody chose for them.

    The best rate depends on the batch (App. B.1), so the rate is tuned inside each arm, or every
    arm that sets a batch states its rate, or the rule that is to scale it, beside the batch.
    """
    if len({arm.recipe.batch_size for arm in arms}) < 2 or (nuisance and RATE in nuisance.domains):
        return
    for arm in arms:
        if BATCH in arm.changes and not {RATE, RULE} & arm.changes.keys():
            raise FieldError(
                BATCH,
                f"varies over the arms, and the arm {arm.label} does not say at which learning "
                f"rate; allowed: [nuisance] {RATE} = {{ min = ..., max = ..., scale = 'log' }}, "
                f"which tunes it inside each arm, or {RATE} or {RULE} beside each batch_size, "
                "since the best rate depends on the batch",
            )
