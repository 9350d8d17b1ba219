"""Bringing an older ledger up to date in place, one small step per schema."""

from collections.abc import Callable, Mapping

from simclr_lab.tracking import schema
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.unfit import LedgerUnreadable

Step = Callable[[Mapping[str, str]], Mapping[str, str]]
"""From a run's tags to the tags that the next schema wants beside them or in their place."""

STEPS: Mapping[str, tuple[str, Step]] = {}
"""Schema -> (the next one, the step). Schema 1 is the first: nothing older exists."""


def migrate(
    ledger: Ledger,
    steps: Mapping[str, tuple[str, Step]] = STEPS,
    current: str = schema.SCHEMA,
) -> int:
    """Migrate every run to ``current``; how many there were to migrate.

    Raises LedgerUnreadable, before anything is changed, where no chain of steps leads from a run's
    schema to the current one. Each run carries its own schema, so a kill costs nothing: the rest
    is migrated by the next call.
    """
    found = ledger.other_schemas(current)
    for each in found:
        if not _reaches(each, current, steps):
            raise LedgerUnreadable(ledger.tracking_uri, each, current)
    migrated = 0
    for each in found:
        for run in list(ledger.runs_client.search({schema.TAG_SCHEMA: each})):
            ledger.runs_client.tag(run.info.run_id, _migrated(run.data.tags, current, steps))
            migrated += 1
    return migrated


def _reaches(found: str, current: str, steps: Mapping[str, tuple[str, Step]]) -> bool:
    while found != current:
        if found not in steps:
            return False
        found = steps[found][0]
    return True


def _migrated(
    tags: Mapping[str, str], current: str, steps: Mapping[str, tuple[str, Step]]
) -> dict[str, str]:
    """The tags to set, the new schema among them."""
    found, changes = tags[schema.TAG_SCHEMA], dict[str, str]()
    while found != current:
        found, step = steps[found]
        changes |= step({**tags, **changes})
    return changes | {schema.TAG_SCHEMA: current}
