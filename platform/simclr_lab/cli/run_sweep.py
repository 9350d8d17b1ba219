"""A sweep, planned and run: its cells are what Optuna proposes."""

from collections.abc import Callable
from functools import partial
from typing import Any

from simclr_lab.cell import State
from simclr_lab.cli.exits import output
from simclr_lab.cli.request import Checked
from simclr_lab.cli.session import Session
from simclr_lab.data.sources import dataset_digest
from simclr_lab.identity import cell_key
from simclr_lab.spaces.search import PRUNING_METRIC
from simclr_lab.spaces.sweep import Sweep
from simclr_lab.tracking.home import storage, sweeps
from simclr_lab.training.attempts import newest_attempt
from simclr_lab.tuning.optuna_source import OptunaSource
from simclr_lab.tuning.optuna_study import open_study
from simclr_lab.tuning.plan import Action, PlannedCell, Replicate, plan_cell
from simclr_lab.tuning.samplers import make_pruner

CHANCE = {"cifar10": 10.0}
"""Top-1 in percent of guessing: what a diverged cell scored."""


def plan_of_sweep(session: Session, study: Sweep) -> Callable[[], int]:
    """Show the space, and what the trials to come cost; what is returned runs them."""
    scale = session.checked.request.scale
    done, wanted = _done(session), study.trials_at(scale)
    output.print(f"{session.title}: {wanted} trials wanted, {done} done", markup=False)
    domains = study.domains(session.checked.base, scale)
    for name, domain in domains.items():
        output.print(f"  {name}: {domain}", markup=False)
    base = study.base_at(session.checked.base, scale)
    workers = session.checked.sizing.widest(base, domains)
    trial = PlannedCell("", "a trial like the scale", 0, base, Action.RUN, workers)
    pruned = study.pruning_at(scale) is not None
    ahead = [trial] * max(0, wanted - done)
    session.estimate([], ahead, keeps_checkpoints=pruned, example=True)
    return partial(_run, session, study)


def _done(session: Session) -> int:
    place = session.ledger.study(session.checked.study.name, session.checked.scale)
    keys = [cell.key for cell in place.cells] if place else []
    ends = (State.FINISHED, State.PRUNED)
    return sum(session.known[key].state in ends for key in keys if key in session.known)


def _run(session: Session, study: Sweep) -> int:
    request = session.checked.request
    base = study.base_at(session.checked.base, request.scale)
    digest = dataset_digest(base.data.dataset)
    launch = session.launch(session.record())
    outside = launch.surroundings()

    def key(replicate: Replicate) -> str:
        return cell_key(replicate.recipe, replicate.seed, digest)

    def plan(replicate: Replicate) -> PlannedCell:
        return plan_cell(
            replicate,
            outside.known([key(replicate)]),
            data_digest=digest,
            sizing=session.checked.sizing,
            retry_failed=request.retry_failed,
            newest_attempt=lambda key: newest_attempt(storage(), key),
        )

    with session.wrong_in_the_file():
        source = _source(session.checked, study, key=key, plan=plan, outside=outside)
    output.print(f"{source.remaining()} to run, metric {', '.join(study.objectives)}", markup=False)
    progress = launch.run(source, reused=source.trials - source.remaining())
    code = session.end(launch, progress)
    if source.space_exhausted():
        output.print("The space is exhausted: it has fewer different cells than trials wanted.")
    return code


def _source(checked: Checked, study: Sweep, **given: Any) -> OptunaSource:
    """The sweep's source of cells. Raises FieldError where earlier trials do not go with it."""
    scale = checked.request.scale
    base, pruning = study.base_at(checked.base, scale), study.pruning_at(scale)
    pruner = make_pruner(
        pruning.name if pruning else None, pruning.options() if pruning else {}, epochs=base.epochs
    )
    return OptunaSource(
        study=open_study(sweeps(), f"{study.name}@{checked.scale}", study.objectives, pruner),
        domains=study.domains(base, scale),
        base=base,
        seed=checked.seeds[0],
        trials=study.trials_at(scale),
        metric=study.metric,
        chance=CHANCE[base.data.dataset],
        sampler=study.sampler.name,
        sampler_seed=study.sampler.seed,
        sampler_options=study.sampler.options(),
        objectives=study.objectives,
        cheap_metric=PRUNING_METRIC if pruning else None,
        first=study.first_points(base, scale),
        workers=checked.sizing.widest(base, study.domains(base, scale)),
        retry_failed=checked.request.retry_failed,
        **given,
    )
