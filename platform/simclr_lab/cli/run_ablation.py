"""An ablation, planned and run: its cells as they are listed, or tuned arm by arm."""

from collections.abc import Callable
from functools import partial

from simclr_lab.cli.exits import Exit, output
from simclr_lab.cli.plan_view import show_plan
from simclr_lab.cli.planning import plan_ablation, planned
from simclr_lab.cli.session import Session
from simclr_lab.cli.tuned import (
    TunedPlan,
    cells_ahead,
    plan_tuned,
    reused_before,
    show_tuned_plan,
    tuned_record,
    tuned_source,
)
from simclr_lab.spaces.ablation import Ablation
from simclr_lab.tuning.plan import Action, PlannedCell
from simclr_lab.tuning.source import AblationSource


def plan_of_ablation(session: Session, study: Ablation) -> Callable[[], int]:
    """Show the plan, and what it costs; what is returned runs it."""
    with session.wrong_in_the_file():
        plan = plan_tuned(session.checked, study, session.known, partial(planned, session.checked))
    if plan is not None:
        show_tuned_plan(session.title, plan)
        session.estimate(plan.cells, list(cells_ahead(plan, session.checked.sizing)))
        return partial(_run_tuned, session, plan)
    cells = plan_ablation(session.checked, study, session.known)
    show_plan(session.title, cells)
    session.estimate(cells)
    return partial(_run, session, cells)


def _run(session: Session, cells: list[PlannedCell]) -> int:
    if session.checked.request.force:
        output.print("If this launch is stopped, the same command without --force continues it.")
    launch = session.launch(session.record(cells))
    source = AblationSource(cells, launch.surroundings())
    failed = sum(cell.action is Action.FAILED for cell in cells)
    progress = launch.run(source, reused=len(cells) - source.remaining() - failed)
    return session.end(launch, progress, failed)


def _run_tuned(session: Session, plan: TunedPlan) -> int:
    checked = session.checked
    earlier = session.ledger.study(checked.study.name, checked.scale)
    places = earlier.cells if earlier else ()
    launch = session.launch(tuned_record(session.record(), plan, places, session.known))
    with session.wrong_in_the_file():
        source = tuned_source(checked, plan, places, launch.surroundings())
    failed = sum(cell.action is Action.FAILED for cell in plan.cells)
    progress = launch.run(source, reused=reused_before(plan, source))
    code = session.end(launch, progress, failed)
    for line in source.outcomes():
        output.print(line, markup=False)
    return Exit.CELLS_FAILED if code == Exit.DONE and source.problems() else code
