"""The commands. Nothing heavy is imported before a command needs it."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="SimCLR's ablations as something one can run. Exit codes: 0 done, 1 some cells failed, "
    "2 bad input, 3 stopped or already running (run it again), 4 the environment is unfit.",
)
data_app = typer.Typer(no_args_is_help=True, help="Datasets in this machine's cache.")
app.add_typer(data_app, name="data")


Scale = Annotated[str, typer.Option(help="the base recipe")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="field=value, over the scale's recipe")
]
Seeds = Annotated[str | None, typer.Option(help="0..4 or 0,1,2: instead of the study's")]
Workers = Annotated[int, typer.Option(min=1, help="workers per cell, where its batch fits")]
RetryFailed = Annotated[bool, typer.Option(help="run failed cells again")]
DryRun = Annotated[bool, typer.Option(help="print the plan and stop")]
Force = Annotated[bool, typer.Option(help="finished and failed cells again, as new attempts")]
NoDiff = Annotated[bool, typer.Option("--no-diff", help="do not record changes of tracked files")]


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="a study file, search_spaces/**/*.toml")],
    scale: Scale,
    set_: Assignments = None,
    seeds: Seeds = None,
    workers: Workers = 1,
    retry_failed: RetryFailed = False,
    force: Force = False,
    no_diff: NoDiff = False,
    dry_run: DryRun = False,
) -> None:
    """Run what is missing of an ablation or a sweep; what is done is reused."""
    _run(study, scale, set_, seeds, workers, retry_failed, force, no_diff, dry_run)


@app.command()
def pretrain(
    scale: Scale,
    set_: Assignments = None,
    seeds: Seeds = None,
    workers: Workers = 1,
    retry_failed: RetryFailed = False,
    force: Force = False,
    no_diff: NoDiff = False,
    dry_run: DryRun = False,
) -> None:
    """Pretrain and evaluate one recipe, recorded and resumed like any cell of a study."""
    _run(None, scale, set_, seeds, workers, retry_failed, force, no_diff, dry_run)


def _run(
    path: Path | None,
    scale: str,
    assignments: list[str] | None,
    seeds: str | None,
    workers: int,
    retry_failed: bool,
    force: bool,
    no_diff: bool,
    dry_run: bool,
) -> None:
    from simclr_lab.cli.request import Request
    from simclr_lab.cli.run import run_study

    run_study(
        Request(
            path,
            scale,
            tuple(assignments or ()),
            seeds,
            workers=workers,
            retry_failed=retry_failed,
            dry_run=dry_run,
            force=force,
            diff=not no_diff,
        )
    )


@data_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="a dataset: cifar10")],
    offline: Annotated[Path | None, typer.Option(help="folder that holds its archive")] = None,
) -> None:
    """Fetch a dataset into the cache and verify it; quick when it is there."""
    from simclr_lab.cli.data import fetch_dataset

    fetch_dataset(name, offline)


@data_app.command()
def verify(name: Annotated[str, typer.Argument(help="a dataset: cifar10")]) -> None:
    """Check a cached dataset against its pinned digests; fetches nothing."""
    from simclr_lab.cli.data import verify_dataset

    verify_dataset(name)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="port on this machine's loopback")] = 5000,
) -> None:
    """Open the MLflow UI on the ledger, on loopback only."""
    from simclr_lab.cli.places import open_ui

    open_ui(port)


@app.command()
def where(
    out: Annotated[Path, typer.Option(help="folder of tables and figures")] = Path("results"),
) -> None:
    """Say where runs, checkpoints, data, tables and figures are, and how to look at them."""
    from simclr_lab.cli.places import show_places

    show_places(out)
