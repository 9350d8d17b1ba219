"""The commands. Nothing heavy is imported before a command needs it."""

from pathlib import Path
from typing import Annotated, Any

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
Workers = Annotated[str, typer.Option(help="per cell, where its batch can be cut, or auto")]
ImagesPerWorker = Annotated[
    int | None, typer.Option(min=1, help="with auto: images of the batch that a worker can hold")
]
CpusPerWorker = Annotated[
    int | None, typer.Option(min=1, help="threads of a worker; default 1, with GPUs a GPU's part")
]
GpuFraction = Annotated[str, typer.Option(help="of a GPU for a cell of one worker: 1, 0.5, 1/3")]
RetryFailed = Annotated[bool, typer.Option(help="run failed cells again")]
DryRun = Annotated[bool, typer.Option(help="print the plan and stop")]
DatasetName = Annotated[
    str, typer.Argument(help="cifar10, cifar100, fashion_mnist or a registered folder")
]
Force = Annotated[bool, typer.Option(help="finished and failed cells again, as new attempts")]
Probe = Annotated[
    bool | None,
    typer.Option(help="measure shapes that have not run here; default: when launching"),
]
PriceFile = Annotated[
    Path | None,
    typer.Option("--prices", help="TOML with currency, worker_hour, gpu_hour: say what it costs"),
]
MaxCells = Annotated[int | None, typer.Option(min=1, help="start no more cells than this")]
MaxHours = Annotated[float | None, typer.Option(help="stop in order after so long")]
MaxWorkerHours = Annotated[
    float | None, typer.Option(help="stop in order when so much is spent (GPU-hours on GPUs)")
]
Json = Annotated[bool, typer.Option("--json", help="one object a line on standard output")]
Notify = Annotated[
    str | None,
    typer.Option(help="command to run at the end and at the first failure, a summary on its input"),
]
NoDiff = Annotated[bool, typer.Option("--no-diff", help="do not record changes of tracked files")]


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="a study file, search_spaces/**/*.toml")],
    scale: Scale,
    set_: Assignments = None,
    seeds: Seeds = None,
    workers: Workers = "1",
    images_per_worker: ImagesPerWorker = None,
    cpus_per_worker: CpusPerWorker = None,
    gpu_fraction: GpuFraction = "1",
    retry_failed: RetryFailed = False,
    force: Force = False,
    no_diff: NoDiff = False,
    dry_run: DryRun = False,
    probe: Probe = None,
    prices: PriceFile = None,
    max_cells: MaxCells = None,
    max_hours: MaxHours = None,
    max_worker_hours: MaxWorkerHours = None,
    json: Json = False,
    notify: Notify = None,
) -> None:
    """Run what is missing of an ablation or a sweep; what is done is reused."""
    _run(
        study,
        scale=scale,
        assignments=tuple(set_ or ()),
        seeds=seeds,
        workers=workers,
        images_per_worker=images_per_worker,
        cpus_per_worker=cpus_per_worker,
        gpu_fraction=gpu_fraction,
        retry_failed=retry_failed,
        force=force,
        diff=not no_diff,
        dry_run=dry_run,
        probe=probe,
        prices=prices,
        max_cells=max_cells,
        max_hours=max_hours,
        max_worker_hours=max_worker_hours,
        as_json=json,
        notify=notify,
    )


@app.command()
def pretrain(
    scale: Scale,
    set_: Assignments = None,
    seeds: Seeds = None,
    workers: Workers = "1",
    images_per_worker: ImagesPerWorker = None,
    cpus_per_worker: CpusPerWorker = None,
    gpu_fraction: GpuFraction = "1",
    retry_failed: RetryFailed = False,
    force: Force = False,
    no_diff: NoDiff = False,
    dry_run: DryRun = False,
    probe: Probe = None,
    prices: PriceFile = None,
    max_cells: MaxCells = None,
    max_hours: MaxHours = None,
    max_worker_hours: MaxWorkerHours = None,
    json: Json = False,
    notify: Notify = None,
) -> None:
    """Pretrain and evaluate one recipe, recorded and resumed like any cell of a study."""
    _run(
        None,
        scale=scale,
        assignments=tuple(set_ or ()),
        seeds=seeds,
        workers=workers,
        images_per_worker=images_per_worker,
        cpus_per_worker=cpus_per_worker,
        gpu_fraction=gpu_fraction,
        retry_failed=retry_failed,
        force=force,
        diff=not no_diff,
        dry_run=dry_run,
        probe=probe,
        prices=prices,
        max_cells=max_cells,
        max_hours=max_hours,
        max_worker_hours=max_worker_hours,
        as_json=json,
        notify=notify,
    )


def _run(path: Path | None, **options: Any) -> None:
    from simclr_lab.cli.request import Request
    from simclr_lab.cli.run import run_study

    run_study(Request(path, **options))


@app.command()
def status(
    study: Annotated[Path, typer.Argument(help="a study file, search_spaces/**/*.toml")],
    scale: Scale,
    set_: Assignments = None,
    seeds: Seeds = None,
    json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """Show a study's cells: finished, running, failed and why, missing; and what run would do."""
    from simclr_lab.cli.request import Request
    from simclr_lab.cli.status import show_status

    show_status(Request(study, scale, tuple(set_ or ()), seeds), as_json=json)


@app.command()
def replay(
    key: Annotated[str, typer.Argument(help="a finished cell's key, or its beginning")],
    no_diff: NoDiff = False,
) -> None:
    """Run a finished cell again beside its record and compare: identical, within, different."""
    from simclr_lab.cli.replay import replay_cell

    replay_cell(key, diff=not no_diff)


@app.command()
def forget(
    target: Annotated[str, typer.Argument(help="with --scale a study, else a cell's key")],
    scale: Annotated[str | None, typer.Option(help="the study's scale")] = None,
    set_: Assignments = None,
    force: Annotated[bool, typer.Option(help="cells that other studies list too")] = False,
    dry_run: Annotated[bool, typer.Option(help="say what would go and stop")] = False,
) -> None:
    """Remove records with their encoders and leases; a sweep's Optuna trials with it."""
    from simclr_lab.cli.forget import forget_target

    forget_target(target, scale, tuple(set_ or ()), force=force, dry_run=dry_run)


@app.command()
def clean(
    older_than: Annotated[float, typer.Option(min=0, help="hours that it lay untouched")] = 24.0,
    dry_run: Annotated[bool, typer.Option(help="say what would go and stop")] = False,
) -> None:
    """Remove files that no record points to; never a recorded encoder."""
    from simclr_lab.cli.clean import clean_home

    clean_home(older_than, dry_run=dry_run)


@app.command()
def export(path: Annotated[Path, typer.Argument(help="a Parquet file to write")]) -> None:
    """Write the ledger into one file: every cell with its history, every study."""
    from simclr_lab.cli.snapshot import export_ledger

    export_ledger(path)


@app.command("import")
def import_(path: Annotated[Path, typer.Argument(help="a file that export wrote")]) -> None:
    """Add another ledger's records to this one; what is finished here stays as it is."""
    from simclr_lab.cli.snapshot import import_ledger

    import_ledger(path)


@app.command()
def migrate() -> None:
    """Bring a ledger that an older version wrote up to date."""
    from simclr_lab.cli.migrate import migrate_ledger

    migrate_ledger()


@data_app.command()
def fetch(
    name: DatasetName,
    offline: Annotated[Path | None, typer.Option(help="folder that holds its archive")] = None,
) -> None:
    """Fetch a dataset into the cache and verify it; quick when it is there."""
    from simclr_lab.cli.data import fetch_dataset

    fetch_dataset(name, offline)


@data_app.command()
def verify(name: DatasetName) -> None:
    """Check a cached dataset against its digests; fetches nothing."""
    from simclr_lab.cli.data import verify_dataset

    verify_dataset(name)


@data_app.command()
def register(
    name: Annotated[str, typer.Argument(help="small letters, digits and underscores")],
    folder: Annotated[
        Path, typer.Argument(help="train/CLASS/* and test/CLASS/*, or labels.csv and its files")
    ],
    size: Annotated[int, typer.Option(help="pixels; shorter side, then the central square")],
    metric: Annotated[str, typer.Option(help="top1, mean_per_class or map11")] = "top1",
) -> None:
    """Make a folder of images a dataset, named by its content: NAME-DIGEST."""
    from simclr_lab.cli.data import register_dataset

    register_dataset(name, folder, size, metric)


@data_app.command("list")
def list_() -> None:
    """List all datasets that can be named here: sizes, classes, digests, cached or not."""
    from simclr_lab.cli.data import list_datasets

    list_datasets()


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="a cell's key, or its first letters")],
    second: Annotated[str, typer.Argument(help="another's")],
    protocol: Annotated[str, typer.Option(help="an evaluation that reads test")] = "linear",
) -> None:
    """Say whether two encoders differ on the same test images, by a permutation test."""
    from simclr_lab.cli.compare import compare_cells

    compare_cells(first, second, protocol)


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
