"""The ledger in one Parquet file: frozen beside a paper, or carried to another ledger.

One row per cell with its recipe, tags and whole metric history, one row per study with its cells.
The same records give the same bytes.
"""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from simclr_lab.cell import IMPORTED_FROM, CellRecord, Outcome, State, StudyCell, StudyRecord
from simclr_lab.tracking import schema
from simclr_lab.tracking.arrays import unpack
from simclr_lab.tracking.lease import Lease, LeaseHeld
from simclr_lab.tracking.ledger import Ledger

SCHEMA_FIELD = b"simclr.schema"
INCOMPLETE = "incomplete"
"""Start of ``imported_from`` while a record's rows are still being written."""

ARTIFACTS = (schema.ARTIFACT_DIFF, schema.ARTIFACT_FAILURE)
_TEXTS = pa.map_(pa.string(), pa.string())
_ROW = pa.struct(
    [
        ("metric", pa.string()),
        ("step", pa.int64()),
        ("timestamp_ms", pa.int64()),
        ("value", pa.float64()),
    ]
)
_PLACE = pa.struct(
    [("key", pa.string()), ("arm", pa.string()), ("seed", pa.int64()), ("role", pa.string())]
)
COLUMNS = pa.schema(
    [
        ("kind", pa.string()),
        ("scale", pa.string()),
        ("key", pa.string()),
        ("seed", pa.int64()),
        ("state", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("reason_kind", pa.string()),
        ("attempt", pa.int64()),
        ("method_version", pa.int64()),
        ("data_digest", pa.string()),
        ("encoder_sha256", pa.string()),
        ("world_size", pa.int64()),
        ("threads", pa.int64()),
        ("recipe", _TEXTS),  # values as JSON
        ("metrics", pa.map_(pa.string(), pa.float64())),
        ("evaluations", _TEXTS),
        ("tags", _TEXTS),
        ("artifacts", _TEXTS),
        ("arrays", pa.binary()),  # packed, see arrays.pack
        ("history", pa.list_(_ROW)),
        ("study", pa.string()),
        ("study_kind", pa.string()),
        ("metric", pa.string()),
        ("definition", pa.string()),
        ("launches", _TEXTS),
        ("cells", pa.list_(_PLACE)),
    ],
    metadata={SCHEMA_FIELD: schema.SCHEMA.encode()},
)
_PLAIN = (
    *("scale", "key", "seed", "reason", "reason_kind", "attempt", "method_version"),
    *("data_digest", "encoder_sha256", "world_size", "threads"),
)


class SnapshotError(ValueError):
    """The file is no snapshot that this version reads; the message names it and why."""


def export_snapshot(ledger: Ledger, path: Path) -> tuple[int, int]:
    """Write every cell and study that the ledger reads; how many of each.

    What runs is exported as unfinished, since in a snapshot nothing runs.
    """
    cells = [_cell_row(ledger, record) for _, record in sorted(ledger.cells().items())]
    studies = [_study_row(study) for study in ledger.studies()]
    table = pa.Table.from_pylist([*cells, *studies], schema=COLUMNS)
    descriptor, name = tempfile.mkstemp(prefix=".writing-", dir=path.resolve().parent)
    try:
        os.close(descriptor)
        pq.write_table(table, name, compression="zstd")
        Path(name).chmod(0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return len(cells), len(studies)


def import_snapshot(ledger: Ledger, path: Path) -> Counter[str]:
    """Add a snapshot's cells and studies; counts of imported, known, and running here.

    A record that is here is never replaced by a lesser one; a better one comes as a new attempt.
    The same snapshot again adds nothing. Raises SnapshotError before anything is written.
    """
    rows = _read(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    known, counts = ledger.cells(), Counter[str]()
    for row in rows:
        if row["kind"] == schema.KIND_CELL:
            counts[_import_cell(ledger, row, known.get(row["key"]), path.name, digest)] += 1
    for row in rows:
        if row["kind"] == schema.KIND_STUDY:
            study = _to_study(row)
            here = ledger.study(study.study, study.scale)
            ledger.runs_client.open_study(replace(study, definition="") if here else study)
            counts["studies"] += 1
    return counts


def attempt_for(record: CellRecord, here: CellRecord | None, digest: str) -> int | None:
    """The attempt as which a snapshot's record is imported, or None where it adds nothing."""
    if here is None:
        return record.attempt
    latest = here.reopened or here
    if latest.tags.get(IMPORTED_FROM, "") == f"{INCOMPLETE} {digest}":
        return latest.attempt
    finished = record.state is State.FINISHED
    fuller = here.elsewhere and here.evaluations.items() < record.evaluations.items()
    if finished and (here.state is not State.FINISHED or fuller):
        return here.last_attempt + 1
    return None


def _import_cell(
    ledger: Ledger, row: Mapping[str, Any], here: CellRecord | None, name: str, digest: str
) -> str:
    record, runs = _to_record(row), ledger.runs_client
    attempt = attempt_for(record, here, digest)
    if attempt is None:
        return "known"
    record = replace(record, attempt=attempt)
    incomplete = {**record.tags, IMPORTED_FROM: f"{INCOMPLETE} {digest}"}
    complete = {**record.tags, IMPORTED_FROM: f"{name} {digest}"}
    try:
        with Lease(f"cell-{record.key}"):
            begun = replace(record, state=State.UNFINISHED, outcome=None, tags=incomplete)
            run_id = runs.start(begun)
            runs.add_metrics(record.key, row["history"])
            if row["arrays"] is not None:
                runs.keep(record.key, unpack(row["arrays"]))
            for artifact, text in row["artifacts"]:
                runs.client.log_text(run_id, text, artifact)
            runs.finish(replace(record, tags=complete))
    except LeaseHeld:
        return "running here"
    return "imported"


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise SnapshotError(f"{path}: cannot be read as Parquet: {error}") from None
    found = (table.schema.metadata or {}).get(SCHEMA_FIELD)
    if found is None:
        raise SnapshotError(f"{path}: is Parquet, but no snapshot of a ledger")
    if found != schema.SCHEMA.encode():
        raise SnapshotError(
            f"{path}: has schema {found.decode()}, this version reads {schema.SCHEMA}: export it "
            "again with the same version of simclr-lab"
        )
    if not table.schema.equals(COLUMNS):
        raise SnapshotError(f"{path}: has other columns than a snapshot of schema {schema.SCHEMA}")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _cell_row(ledger: Ledger, record: CellRecord) -> dict[str, Any]:
    assert record.run_id is not None
    state = State.UNFINISHED if record.state is State.RUNNING else record.state
    row: dict[str, Any] = {name: getattr(record, name) for name in _PLAIN}
    tags = {name: value for name, value in record.tags.items() if name != IMPORTED_FROM}
    return row | {
        "kind": schema.KIND_CELL,
        "state": state.value,
        "outcome": record.outcome.value if record.outcome else None,
        "recipe": _pairs({name: json.dumps(value) for name, value in record.recipe.items()}),
        "metrics": _pairs(record.metrics),
        "evaluations": _pairs(record.evaluations),
        "tags": _pairs(tags),
        "artifacts": list(_artifacts(ledger, record.run_id)),
        "arrays": ledger.packed_arrays(record),
        "history": ledger.metric_rows(record),
    }


def _artifacts(ledger: Ledger, run_id: str) -> Iterator[tuple[str, str]]:
    for name in ARTIFACTS:
        if text := ledger.text(run_id, name):
            yield name, text


def _pairs(mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(mapping.items())


def _to_record(row: Mapping[str, Any]) -> CellRecord:
    plain = {name: row[name] for name in _PLAIN}
    return CellRecord(
        **plain,
        state=State(row["state"]),
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        recipe={name: json.loads(text) for name, text in row["recipe"]},
        metrics=dict(row["metrics"]),
        evaluations=dict(row["evaluations"]),
        tags=dict(row["tags"]),
    )


def _study_row(study: StudyRecord) -> dict[str, Any]:
    return {
        "kind": schema.KIND_STUDY,
        "scale": study.scale,
        "study": study.study,
        "study_kind": study.kind,
        "metric": study.metric,
        "definition": study.definition,
        "launches": _pairs(study.launches),
        "cells": [vars(cell) for cell in study.cells],
    }


def _to_study(row: Mapping[str, Any]) -> StudyRecord:
    return StudyRecord(
        study=row["study"],
        scale=row["scale"],
        kind=row["study_kind"],
        metric=row["metric"],
        cells=tuple(StudyCell(**cell) for cell in row["cells"]),
        definition=row["definition"],
        launches=dict(row["launches"]),
    )
