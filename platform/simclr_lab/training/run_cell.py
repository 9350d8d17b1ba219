"""One cell from start to end on one worker: pretrain, checkpoint, evaluate, report (no Ray)."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from simclr_lab.cell import EpochReport, Outcome
from simclr_lab.contrastive.gather import alone
from simclr_lab.data.sources import Dataset
from simclr_lab.data.splits import pretraining_indices
from simclr_lab.evaluation.measured import Measured
from simclr_lab.evaluation.protocols import READS_TEST, evaluate
from simclr_lab.identity import evaluation_key
from simclr_lab.recipe import Recipe
from simclr_lab.training.checkpoint import (
    CellStore,
    history_from_plain,
    history_to_plain,
    state_digest,
)
from simclr_lab.training.checks import epoch_diagnostics, final_checks
from simclr_lab.training.events import CellEnded, CellEpoch, CellEvent, CellStarted
from simclr_lab.training.judging import build_judge, labelled_splits, shared_tensor
from simclr_lab.training.loop import EpochMetrics, Pretraining


@dataclass(frozen=True)
class CellTask:
    """What a worker needs to know of a cell; plain data that travels to it."""

    key: str
    recipe: Recipe
    seed: int
    storage: str
    attempt: int = 0


class CellRun:
    """One worker's run of a cell. Rank 0 writes, evaluates and tells; the others only compute.

    Args:
        task: what to run.
        dataset: decoded images, shared between cells and never written to.
        device: where to compute.
        stop: for several workers: rank 0 asks it at the end of every epoch, and all ranks leave
            together where it says so. One worker's iterator is simply not asked for more.
    """

    def __init__(
        self,
        task: CellTask,
        dataset: Dataset,
        device: torch.device | str = "cpu",
        *,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self.task, self.recipe = task, task.recipe
        self.store = CellStore(Path(task.storage), task.key, task.attempt)
        images, data = shared_tensor(dataset.train_images), self.recipe.data
        subset = pretraining_indices(
            dataset.train_labels, split=data.pretrain_split, images=data.pretrain_images
        )
        labels = shared_tensor(dataset.train_labels)
        self.pretraining = Pretraining(
            self.recipe, task.seed, images, torch.from_numpy(subset), device, labels
        )
        self.dataset, self.stop = dataset, stop
        self.stopped = False
        self.history: list[EpochReport] = []
        self.evaluations: dict[str, str] = {}
        self.arrays: dict[str, Tensor] = {}
        self.outcome = Outcome.OK

    @property
    def writes(self) -> bool:
        """Whether this worker is the one that writes, evaluates and tells."""
        return self.pretraining.rank == 0

    def events(self) -> Iterator[CellEvent]:
        """Run what is left of the cell; every worker must exhaust this iterator."""
        finished = self._restore()
        yield CellStarted(
            key=self.task.key,
            attempt=self.task.attempt,
            world_size=self.pretraining.world_size,
            threads=torch.get_num_threads(),
            history=tuple(self.history),
            finished=finished,
        )
        if not finished:
            yield from self._pretrain()
        if not self.writes or self.stopped:
            return
        missing = self.missing_evaluations()
        if missing and self.outcome is not Outcome.DIVERGED:
            with alone():
                done = self._evaluate(missing, first=not finished)
            yield done
        latest = {name: v for report in self.history for name, v in report.metrics.items()}
        yield CellEnded(
            self.task.key,
            self.outcome,
            dict(self.evaluations),
            latest,
            {name: array.numpy() for name, array in self.arrays.items()},
            encoder_sha256=state_digest(self.pretraining.model.encoder.state_dict()),
        )

    def missing_evaluations(self) -> dict[str, str]:
        """Protocol -> key of the evaluations that the recipe wants and the cell lacks."""
        wanted = {p: evaluation_key(self.recipe, p) for p in self.recipe.evaluation.protocols}
        return {p: key for p, key in wanted.items() if self.evaluations.get(p) != key}

    def _pretrain(self) -> Iterator[CellEvent]:
        clock = _Clock()
        for epoch in self.pretraining.epochs():
            if not epoch.finite:
                self.outcome = Outcome.DIVERGED
            if self.writes:
                with alone():
                    report = self._epoch_report(epoch, clock)
                self.history.append(report)
                # Saved before it is told: a report that was told never comes with another stamp.
                if self.outcome is Outcome.DIVERGED:
                    self.store.save_final(self._final_state())
                else:
                    self.store.save_checkpoint(self.pretraining.step, self._training_state())
                yield CellEpoch(self.task.key, report)
            if self._leaves():
                self.stopped = self.outcome is not Outcome.DIVERGED
                return

    def _leaves(self) -> bool:
        """Rank 0's answer, the same on every rank: one that left alone would hang the others."""
        diverged = self.outcome is Outcome.DIVERGED
        if self.pretraining.world_size == 1:
            return diverged
        told = self.writes and (diverged or (self.stop is not None and self.stop()))
        answer = torch.tensor([int(told)], device=self.pretraining.device)
        dist.broadcast(answer, src=0)
        return bool(answer.item())

    def _epoch_report(self, epoch: EpochMetrics, clock: "_Clock") -> EpochReport:
        """The epoch's metrics with the cheap accuracy and what it cost, stamped now."""
        earlier = self.history[-1].step if self.history else 0
        images = (epoch.step - earlier) * self.recipe.batch_size
        metrics = dict(epoch.metrics) | clock.costs("cost/pretraining", images)
        if self.outcome is not Outcome.DIVERGED:
            metrics |= self._look_at_model()
        clock.costs("", 0)  # evaluation is not charged to the next epoch's throughput
        return EpochReport(epoch.epoch, epoch.step, _now_ms(), metrics)

    def _look_at_model(self) -> dict[str, float]:
        """Geometry and the cheap accuracy; none where h or z overflow, which is divergence too."""
        model = self.pretraining.model
        found = epoch_diagnostics(self.recipe, model, self._validation_images)
        if found is None:
            self.outcome = Outcome.DIVERGED
            return {}
        if "ridge" in self.recipe.evaluation.protocols:
            found |= self._measure(["ridge"], test=False).metrics
        return found

    def _evaluate(self, missing: dict[str, str], *, first: bool) -> CellEpoch:
        clock = _Clock()
        left = [protocol for protocol in missing if not (first and self._measured_now(protocol))]
        measured = self._measure(left, test=bool(READS_TEST & set(left)))
        metrics = dict(measured.metrics)
        self.arrays |= measured.arrays
        if first and self.recipe.trains:
            model = self.pretraining.model
            checks, collapsed = final_checks(self.recipe, model, self._validation_images)
            metrics |= checks
            self.outcome = Outcome.COLLAPSED if collapsed else self.outcome
        metrics |= clock.costs("cost/evaluation", 0)
        self.evaluations |= missing
        report = EpochReport(self.recipe.epochs, self.pretraining.step, _now_ms(), metrics)
        self.history.append(report)
        self.store.save_final(self._final_state())
        return CellEpoch(self.task.key, report)

    def _measured_now(self, protocol: str) -> bool:
        """Whether the last epoch's report already measured the encoder as it stands."""
        if not self.history or self.history[-1].step != self.pretraining.step:
            return False
        return any(name.startswith(f"{protocol}/") for name in self.history[-1].metrics)

    def _measure(self, protocols: list[str], *, test: bool) -> Measured:
        judge = build_judge(
            self.recipe,
            self.pretraining.model,
            self.dataset,
            device=self.pretraining.device,
            test=test,
        )
        return evaluate(judge, protocols)

    @cached_property
    def _validation_images(self) -> Tensor:
        return labelled_splits(self.recipe, self.dataset, test=False).val.images

    def _restore(self) -> bool:
        """Take up what the store holds; whether the encoder is finished."""
        final = self.store.load_final()
        if final is not None:
            self.pretraining.model.encoder.load_state_dict(final["encoder"])
            self.pretraining.model.head.load_state_dict(final["head"])
            self.pretraining.step = final["step"]
            self.evaluations = dict(final["evaluations"])
            self.arrays = dict(final.get("arrays", {}))
            self.outcome = Outcome(final["outcome"])
            self.history = list(history_from_plain(final["history"]))
            return True
        state = self.store.load_checkpoint()
        if state is not None:
            self.pretraining.load_state_dict(state["training"])
            self.history = list(history_from_plain(state["history"]))
        return False

    def _training_state(self) -> dict[str, Any]:
        return {
            "training": self.pretraining.state_dict(),
            "history": history_to_plain(tuple(self.history)),
        }

    def _final_state(self) -> dict[str, Any]:
        model = self.pretraining.model
        return {
            "encoder": model.encoder.state_dict(),
            "head": model.head.state_dict(),
            "step": self.pretraining.step,
            "history": history_to_plain(tuple(self.history)),
            "evaluations": dict(self.evaluations),
            "arrays": dict(self.arrays),
            "outcome": str(self.outcome.value),
            "seed": self.task.seed,
            "recipe": self.recipe.model_dump_json(),
        }


class _Clock:
    """CPU and wall seconds since it was last asked."""

    def __init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def costs(self, prefix: str, images: int) -> dict[str, float]:
        """``<prefix>_cpu_seconds``, ``<prefix>_seconds`` and, for images, their rate."""
        cpu, wall = time.process_time(), time.perf_counter()
        spent, passed = cpu - self.cpu, wall - self.wall
        self.cpu, self.wall = cpu, wall
        costs = {f"{prefix}_cpu_seconds": spent, f"{prefix}_seconds": passed}
        return costs | ({"cost/images_per_second": images / passed} if images else {})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
