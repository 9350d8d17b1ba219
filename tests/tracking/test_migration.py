"""Migration: a chain of small steps, in place; what comes from a later time is refused."""

from collections.abc import Mapping

import pytest
from tracking_records import record

from simclr_lab.tracking import schema
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.migration import STEPS, migrate
from simclr_lab.tracking.mlflow_runs import MlflowRuns
from simclr_lab.tracking.unfit import LedgerUnavailable, LedgerUnreadable


def first(tags: Mapping[str, str]) -> dict[str, str]:
    return {"simclr.colour": "red"}


def second(tags: Mapping[str, str]) -> dict[str, str]:
    return {"simclr.shade": f"dark {tags['simclr.colour']}"}


CHAIN = {"old": ("older", first), "older": ("1", second)}


def ledger_of(*schemas: str) -> Ledger:
    """A ledger with one cell written in each schema."""
    runs = MlflowRuns(Ledger().tracking_uri)
    for number, written in enumerate(schemas):
        run_id = runs.start(record(key=f"{number}" * 20))
        runs.client.set_tag(run_id, schema.TAG_SCHEMA, written)
    return Ledger()


def tags(ledger: Ledger) -> list[Mapping[str, str]]:
    runs = ledger.runs_client.search({schema.TAG_KIND: schema.KIND_CELL})
    return sorted((run.data.tags for run in runs), key=lambda t: t[schema.TAG_KEY])


def test_every_step_of_the_chain_is_taken_once(own_home) -> None:
    ledger = ledger_of("old", "older", "1")
    blue = ledger.runs_client.find({schema.TAG_KEY: "1" * 20})
    ledger.client.set_tag(blue.info.run_id, "simclr.colour", "blue")
    assert migrate(ledger, CHAIN, "1") == 2
    found = tags(ledger)
    assert [t[schema.TAG_SCHEMA] for t in found] == ["1", "1", "1"]
    assert [t.get("simclr.shade") for t in found] == ["dark red", "dark blue", None]
    assert migrate(ledger, CHAIN, "1") == 0


def test_a_chain_that_does_not_arrive_changes_nothing(own_home) -> None:
    ledger = ledger_of("old", "99")
    with pytest.raises(LedgerUnreadable, match=r"schema 99.*newer simclr-lab"):
        migrate(ledger, CHAIN, "1")
    assert [t[schema.TAG_SCHEMA] for t in tags(ledger)] == ["old", "99"]


def test_todays_ledger_is_up_to_date(own_home) -> None:
    assert migrate(ledger_of("1")) == 0
    assert set(STEPS) == {str(n) for n in range(1, int(schema.SCHEMA))}


def test_another_schema_is_not_read(own_home) -> None:
    ledger = ledger_of("1", "99")
    for read in (ledger.cells, ledger.reachable, lambda: ledger.cells(["1" * 20])):
        with pytest.raises(LedgerUnavailable, match="schema 99, this version reads 1"):
            read()
    assert set(ledger.cells(["0" * 20])) == {"0" * 20}
    older = ledger_of("0")
    with pytest.raises(LedgerUnreadable, match="simclr-lab migrate"):
        older.cells(["0" * 20])
