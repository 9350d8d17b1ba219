"""A cell's events, as they happen, into the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from simclr_lab.cell import CellRecord, State
from simclr_lab.identity import METHOD_VERSION
from simclr_lab.tracking.tracker import Tracker
from simclr_lab.training.events import (
    CellEnded,
    CellEpoch,
    CellEvent,
    CellFailed,
    CellStarted,
    CellStopped,
)
from simclr_lab.training.run_cell import CellTask


@dataclass
class TrackerListener:
    """Keeps one record per cell and hands every change of it to the tracker.

    Args:
        tracker: where records go; its calls never block.
        scale: the scale that the study is laid over.
        data_digest: digest of the dataset.
        tags: provenance, the same for every cell of this launch.
        replay_of: the run that this launch repeats, if it is a replay.
    """

    tracker: Tracker
    scale: str
    data_digest: str
    tags: Mapping[str, str] = field(default_factory=dict)
    replay_of: str | None = None
    records: dict[str, CellRecord] = field(init=False, default_factory=dict)
    finished: set[str] = field(init=False, default_factory=set)  # before this launch

    def heard(self, task: CellTask, event: CellEvent) -> None:
        """Record one event."""
        record = self.records.get(task.key) or self._new_record(task)
        match event:
            case CellStarted():
                record = replace(
                    record,
                    state=State.RUNNING,
                    world_size=event.world_size,
                    threads=event.threads,
                    attempt=event.attempt,
                )
                self.tracker.start(record)
                if event.finished:
                    self.finished.add(task.key)
                for report in event.history:
                    self.tracker.report(task.key, report)
            case CellEpoch():
                self.tracker.report(task.key, event.report)
            case CellEnded():
                record = replace(
                    record,
                    state=State.FINISHED,
                    outcome=event.outcome,
                    evaluations=event.evaluations,
                    metrics=event.metrics,
                    encoder_sha256=event.encoder_sha256,
                )
                if event.arrays:
                    self.tracker.keep(task.key, event.arrays)
                self.tracker.finish(record)
            case CellFailed():
                if task.key not in self.records:
                    self.tracker.start(record)
                # An evaluation that fails takes nothing from an encoder that is finished.
                kept = task.key in self.finished
                record = replace(
                    record,
                    state=State.FINISHED if kept else State.FAILED,
                    reason=event.reason,
                    reason_kind=event.kind.value,
                    failure=event.log,
                )
                self.tracker.finish(record)
            case CellStopped():
                record = replace(record, state=event.state)
                self.tracker.finish(record)
        self.records[task.key] = record

    def interrupted(self) -> list[str]:
        """Record every cell that is still running as unfinished; their keys."""
        running = [r for r in self.records.values() if r.state is State.RUNNING]
        for record in running:
            self.tracker.finish(replace(record, state=State.UNFINISHED))
        return [record.key for record in running]

    def _new_record(self, task: CellTask) -> CellRecord:
        return CellRecord(
            key=task.key,
            seed=task.seed,
            state=State.RUNNING,
            recipe=task.recipe.flat(),
            scale=self.scale,
            data_digest=self.data_digest,
            method_version=METHOD_VERSION,
            attempt=task.attempt,
            replay_of=self.replay_of,
            tags=self.tags,
        )
