"""Launching a study: ledger first, then leases, then Ray; whatever happens, a true record."""

import signal
from dataclasses import dataclass, field, replace

from simclr_lab.cell import CellRecord, State, StudyCell, StudyRecord
from simclr_lab.cli.announce import Announcer
from simclr_lab.cli.budget import Budget, Limits, WithinBudget
from simclr_lab.cli.data import require_dataset
from simclr_lab.cli.exits import Exit, errors, interactive, leave, output
from simclr_lab.cli.fitness import worker_hours_name
from simclr_lab.cli.live import LiveTable
from simclr_lab.cli.progress import Lines, StudyProgress
from simclr_lab.cli.quiet import ray_in_a_file
from simclr_lab.data.sources import Dataset
from simclr_lab.tracking.cell_listener import TrackerListener
from simclr_lab.tracking.home import storage
from simclr_lab.tracking.lease import Lease
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.mlflow_tracker import MlflowTracker
from simclr_lab.tracking.provenance import git_diff, provenance
from simclr_lab.training.capacity import ClusterUnfit
from simclr_lab.training.cluster import capacity, connect, disconnect
from simclr_lab.tuning.listening import CellListener
from simclr_lab.tuning.plan import PlannedCell
from simclr_lab.tuning.run import run_cells
from simclr_lab.tuning.searcher import Unplaceable
from simclr_lab.tuning.source import CellSource, Surroundings
from simclr_lab.tuning.watchdog import Stuck

FLUSH_SECONDS = 120.0


@dataclass
class Launch:
    """One launch of a study, under the study's lease.

    Args:
        record: the study as its parent run shows it; a sweep's cells are added as they come.
        ledger: what has been run.
        dataset: name of the dataset.
        targets: names of the datasets that encoders are transferred to.
        diff: keep the changes of tracked files with every cell.
        replay_of: the run that this launch repeats; a replay belongs to no study.
        announcer: who else is told of it.
        limits: what may be spent.
    """

    record: StudyRecord
    ledger: Ledger
    dataset: str
    targets: tuple[str, ...] = ()
    diff: bool = True
    replay_of: str | None = None
    announcer: Announcer | None = None
    limits: Limits = field(default_factory=Limits)
    _places: dict[str, StudyCell] = field(init=False)
    _tracker: MlflowTracker = field(init=False)
    _progress: StudyProgress | None = field(init=False, default=None)
    stopped_by: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._places = {place.key: place for place in self.record.cells}
        diff = git_diff() if self.diff else ""
        self._tracker = MlflowTracker(self.ledger.tracking_uri, diff=diff)

    def run(self, source: CellSource, *, reused: int) -> StudyProgress:
        """Run what the source hands out; returns the counts. Exits 3 on an interrupt.

        Where a budget was spent before the source was exhausted, ``stopped_by`` says which.
        """
        progress = StudyProgress(
            LiveTable(output) if interactive() else Lines(output),
            source.remaining(),
            reused,
            self.record.metric,
            arm=self._arm,
        )
        self._progress = progress
        if self.announcer is not None:
            self.announcer.progress, self.announcer.arm = progress, self._arm
        if self.replay_of is None:
            self._tracker.open_study(self.record)
        if source.remaining():
            self._run_all(source, progress)
        self._flush()
        return progress

    def _run_all(self, source: CellSource, progress: StudyProgress) -> None:
        """Everything between the first cell and the last."""
        data = require_dataset(self.dataset)
        for name in self.targets:  # had now, or no worker could evaluate its cell
            require_dataset(name)
        listener = TrackerListener(
            self._tracker,
            self.record.scale,
            data.digest,
            tags=provenance(),
            replay_of=self.replay_of,
        )
        budget = Budget(self.limits, worker_hours_name())
        told = [self.announcer] if self.announcer is not None else []
        try:
            self._run(source, data, [listener, budget, progress, *told], budget)
        except KeyboardInterrupt:
            kept = listener.interrupted()
            self._flush()
            leave(
                Exit.STOPPED,
                f"Stopped. {progress.done} cells are finished, {len(kept)} keep the checkpoint "
                "of their last epoch. The same command again continues.",
            )
        except (Stuck, Unplaceable, ClusterUnfit) as error:
            listener.interrupted()
            self._flush()
            leave(Exit.UNFIT, str(error))
        if progress.unfinished or source.remaining():
            self.stopped_by = budget.spent()

    def _run(
        self, source: CellSource, data: Dataset, listeners: list[CellListener], budget: Budget
    ) -> None:
        """Ray's part; a termination signal counts as an interrupt."""
        assert self._progress is not None
        with ray_in_a_file(self.record.study) as log:
            output.print(f"log: {log}", markup=False)
            try:
                connect()
                signal.signal(signal.SIGTERM, _interrupt)  # after Ray, which would abort on it
                self._progress.slots = capacity().slots
                with self._progress:
                    run_cells(
                        WithinBudget(source, budget),
                        data,
                        storage=storage(),
                        listeners=listeners,
                        halted=budget.out_of_time,
                    )
            finally:
                disconnect()

    def _arm(self, key: str) -> str:
        place = self._places.get(key)
        return place.arm if place is not None else self.record.study

    def surroundings(self) -> Surroundings:
        """What a source asks of the outside world."""
        return Surroundings(
            lease=lambda key: Lease(f"cell-{key}"),
            known=self.ledger.cells,
            may_start=self._tracker.available,
            reused=self._reused,
            proposed=self._proposed,
        )

    def _reused(self, cell: PlannedCell, record: CellRecord) -> None:
        if self._progress is not None:
            self._progress.reused += 1
            self._progress.total -= 1

    def _proposed(self, place: StudyCell) -> None:
        if place.key not in self._places:
            self._places[place.key] = place
            self._tracker.open_study(replace(self.record, cells=tuple(self._places.values())))

    def _flush(self) -> None:
        if not self._tracker.close(FLUSH_SECONDS):
            leave(
                Exit.UNFIT,
                f"The ledger at {self.ledger.tracking_uri} did not take {self._tracker.pending()} "
                "messages. Nothing is lost: the same command again adds them.",
            )
        for error in self._tracker.errors:
            errors.print(f"The ledger refused {error.what}: {error.error}", markup=False)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def hold_study(study: str, scale: str) -> Lease:
    """The study's lease; exits 3 naming who holds it."""
    lease = Lease(f"study-{study}-{scale}")
    if not lease.acquire():
        leave(
            Exit.STOPPED,
            f"{study} at scale {scale} is already running: {lease.owner() or 'owner unknown'}.",
        )
    return lease


def judge_orphans(ledger: Ledger, known: dict[str, CellRecord]) -> dict[str, CellRecord]:
    """What is known once runs that a dead launch left RUNNING are marked unfinished.

    A run is judged only where its lease is free: nobody is working on it.
    """
    orphans = []
    for key, record in known.items():
        if State.RUNNING not in (record.state, record.reopened and record.reopened.state):
            continue
        lease = Lease(f"cell-{key}")
        if lease.acquire():
            orphans.append(key)
            lease.release()
    if not orphans:
        return known
    ledger.mark_unfinished(orphans)
    return known | ledger.cells(orphans)
