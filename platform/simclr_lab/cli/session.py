"""What running ablations, tuned ablations and sweeps have in common: estimate, launch, end."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

from simclr_lab.cell import CellRecord, StudyRecord
from simclr_lab.cli.announce import Announcer
from simclr_lab.cli.budget import Limits
from simclr_lab.cli.estimate import Estimator
from simclr_lab.cli.exits import Exit, errors, leave, output
from simclr_lab.cli.fitness import (
    on_gpus,
    own_slots,
    refuse_crowded,
    refuse_unfit,
    worker_hours_name,
    worker_memory,
)
from simclr_lab.cli.launch import Launch
from simclr_lab.cli.plan_view import plain_plan, show_estimate
from simclr_lab.cli.progress import StudyProgress
from simclr_lab.cli.request import Checked
from simclr_lab.fields import FieldError
from simclr_lab.identity import METHOD_VERSION
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.spaces.errors import StudyError
from simclr_lab.tracking.home import home
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.provenance import hardware
from simclr_lab.training.probing import Prober
from simclr_lab.tuning.plan import PlannedCell


@dataclass(frozen=True)
class Session:
    """A study that was asked for, the ledger that knows of it, and who is told."""

    checked: Checked
    ledger: Ledger
    known: Mapping[str, CellRecord]
    announcer: Announcer

    @property
    def title(self) -> str:
        """Study and scale."""
        return f"{self.checked.study.name} at scale {self.checked.scale}"

    def estimate(
        self,
        cells: Sequence[PlannedCell],
        ahead: Sequence[PlannedCell] | None = None,
        *,
        keeps_checkpoints: bool = False,
        example: bool = False,
    ) -> None:
        """Show what the planned cells cost, and refuse what this machine cannot hold.

        ``ahead`` are the cells to come where not all of them are planned yet. With ``example`` they
        only stand for what a search will propose, and their memory is no reason to refuse; nor is
        it after ``--no-probe``.

        Raises Unfit or ClusterUnfit, before anything is recorded.
        """
        ahead = cells if ahead is None else ahead
        prober = self._prober(ahead)
        request, prices = self.checked.request, self.checked.prices
        estimator = Estimator(
            self.known,
            prober,
            may_probe=request.probes and own_slots() is not None,
            hardware=hardware(),
            slots=own_slots(),
            prices=prices,
            on_gpus=on_gpus(),
        )
        if prices is not None and prices.of(0.0, on_gpus=on_gpus()) is None:
            lacks = "gpu_hour" if on_gpus() else "worker_hour"
            leave(Exit.BAD_INPUT, f"--prices {request.prices}: has no {lacks}, which is used here")
        found = estimator(ahead, keeps_checkpoints=keeps_checkpoints)
        show_estimate(found, worker_hours_name())
        self.announcer.plan(plain_plan(cells, found))
        refuse_unfit(found, prober, memory=not example and request.probe is not False)
        refuse_crowded(ahead, prober)

    def _prober(self, cells: Sequence[PlannedCell]) -> Prober:
        where = f"{hardware()}, torch {version('torch')}, method {METHOD_VERSION}"
        try:
            limit = worker_memory(cells, own_slots())
        except FieldError as error:
            leave(Exit.BAD_INPUT, str(error))
        return Prober(
            home() / "probes.json", where, limit, lambda text: output.print(text, markup=False)
        )

    def record(self, cells: Sequence[PlannedCell] = ()) -> StudyRecord:
        """The study with its places, as the ledger keeps it."""
        study = self.checked.study
        return StudyRecord(
            study=study.name,
            scale=self.checked.scale,
            kind="ablation" if isinstance(study, Ablation) else "sweep",
            metric=study.metric,
            cells=tuple(cell.place for cell in cells),
            definition=study.text,
        )

    def launch(self, record: StudyRecord) -> Launch:
        """A launch of the study within its budgets."""
        checked, request = self.checked, self.checked.request
        return Launch(
            record,
            self.ledger,
            checked.base.data.dataset,
            checked.targets,
            diff=request.diff,
            announcer=self.announcer,
            limits=Limits(request.max_cells, request.max_hours, request.max_worker_hours),
        )

    def end(self, launch: Launch, progress: StudyProgress, failed_before: int = 0) -> int:
        """Say how the launch ended; the command's exit code."""
        output.print(progress.summary(), markup=False)
        count = len(progress.failed) + failed_before
        if count:
            output.print(
                f"{count} failed cells keep their reason in the ledger; --retry-failed runs them "
                "again."
            )
        if launch.stopped_by is not None:
            self.announcer.stopped_by = launch.stopped_by
            errors.print(
                f"Stopped: {launch.stopped_by}. {progress.unfinished} cells keep the checkpoint of "
                "their last epoch. The same command again continues.",
                markup=False,
            )
            return Exit.STOPPED
        return Exit.CELLS_FAILED if count else Exit.DONE

    @contextmanager
    def wrong_in_the_file(self) -> Iterator[None]:
        """Exit 2 naming the study's file for whatever is found wrong with it now."""
        try:
            yield
        except FieldError as error:
            file = self.checked.study.file
            leave(Exit.BAD_INPUT, str(StudyError(file, error.field, error.problem)))
