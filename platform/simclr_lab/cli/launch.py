"""Launching a study: ledger first, then leases, then Ray; whatever happens, a true record."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simclr_lab.cell import CellRecord, State, StudyCell, StudyRecord
from simclr_lab.cli.exits import Exit, interactive, leave, output
from simclr_lab.cli.progress import StudyProgress
from simclr_lab.data.sources import Dataset
from simclr_lab.tracking.cell_listener import TrackerListener
from simclr_lab.tracking.home import storage
from simclr_lab.tracking.lease import Lease
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.mlflow_tracker import MlflowTracker
from simclr_lab.tracking.provenance import provenance
from simclr_lab.training.cluster import connect, disconnect, slots
from simclr_lab.tuning.listening import ListeningCallback
from simclr_lab.tuning.plan import PlannedCell
from simclr_lab.tuning.run import run_cells
from simclr_lab.tuning.source import CellSource, Surroundings

FLUSH_SECONDS = 120.0


@dataclass
class Launch:
    """One launch of a study, under the study's lease.

    Args:
        record: the study as its parent run shows it; its cells are what is planned so far.
        ledger: what has been run.
        dataset: decoded images.
        total: cells that need a worker, as far as it is known.
        reused: cells that do not.
    """

    record: StudyRecord
    ledger: Ledger
    dataset: Dataset
    total: int
    reused: int
    _places: dict[str, StudyCell] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._places = {place.key: place for place in self.record.cells}

    def run(self, make_source: Callable[[Surroundings], CellSource]) -> StudyProgress:
        """Run what the source hands out; returns the counts. Exits 3 on an interrupt."""
        tracker = MlflowTracker(self.ledger.tracking_uri, self.record.scale)
        listener = TrackerListener(
            tracker, self.record.scale, self.dataset.digest, tags=provenance()
        )
        connect()
        try:
            progress = StudyProgress(
                output, self.total, self.reused, self.record.metric, slots(), interactive()
            )
            tracker.open_study(self.record)
            surroundings = self._surroundings(tracker, progress)
            callback = ListeningCallback([listener, progress])
            try:
                with progress:
                    run_cells(
                        make_source(surroundings),
                        self.dataset,
                        storage=storage(),
                        callbacks=[callback],
                    )
            except KeyboardInterrupt:
                kept = listener.interrupted()
                self._flush(tracker)
                leave(
                    Exit.STOPPED,
                    f"Stopped. {progress.done} cells are finished, {len(kept)} keep the checkpoint "
                    "of their last epoch. The same command again continues.",
                )
            self._flush(tracker)
            return progress
        finally:
            disconnect()

    def _surroundings(self, tracker: MlflowTracker, progress: StudyProgress) -> Surroundings:
        def known(keys: Sequence[str]) -> Mapping[str, CellRecord]:
            return self.ledger.cells(keys)

        def reused(cell: PlannedCell, record: CellRecord) -> None:
            progress.reused += 1
            progress.total -= 1

        def proposed(place: StudyCell) -> None:
            if place.key not in self._places:
                self._places[place.key] = place
                cells = tuple(self._places.values())
                tracker.open_study(StudyRecord(**{**vars(self.record), "cells": cells}))

        return Surroundings(
            lease=lambda key: Lease(f"cell-{key}"),
            known=known,
            may_start=tracker.available,
            reused=reused,
            proposed=proposed,
        )

    def _flush(self, tracker: MlflowTracker) -> None:
        if not tracker.close(FLUSH_SECONDS):
            leave(
                Exit.UNFIT,
                f"The ledger at {self.ledger.tracking_uri} did not take {tracker.pending()} "
                "records. Nothing is lost: the same command again adds them.",
            )


def hold_study(study: str, scale: str) -> Lease:
    """The study's lease; exits 3 naming who holds it."""
    lease = Lease(f"study-{study}-{scale}")
    if not lease.acquire():
        leave(
            Exit.STOPPED,
            f"{study} at scale {scale} is already running: {lease.owner() or 'owner unknown'}.",
        )
    return lease


def judge_orphans(ledger: Ledger, known: Mapping[str, CellRecord]) -> None:
    """Runs left RUNNING by a launch that died become unfinished; only where nobody holds them."""
    orphans = []
    for key, record in known.items():
        if record.state is not State.RUNNING:
            continue
        lease = Lease(f"cell-{key}")
        if lease.acquire():
            orphans.append(key)
            lease.release()
    if orphans:
        ledger.mark_unfinished(orphans)


def free_space(path: Path) -> int:
    """Bytes free where ``path`` will be."""
    import shutil

    existing = path
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free
