"""``python -m analysis ARTEFACT``: make a table and its figure from the ledger's records."""

import importlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

ARTEFACTS = ("table_5_temperature", "table_sweep")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def make(
    artefact: Annotated[str, typer.Argument(help=f"one of: {', '.join(ARTEFACTS)}")],
    scale: Annotated[str, typer.Option(help="the scale that the study was run at")] = "laptop",
    study: Annotated[str | None, typer.Option(help="instead of the artefact's own study")] = None,
    out: Annotated[Path, typer.Option(help="folder of tables and figures")] = Path("results"),
) -> None:
    """Write Markdown, CSV, LaTeX, PNG, SVG and JSON, and print the table with its notes."""
    console, errors = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
    if artefact not in ARTEFACTS:
        errors.print(f"artefact is {artefact!r}; allowed: {', '.join(ARTEFACTS)}", markup=False)
        raise typer.Exit(2)
    from analysis.lib.records import NoRecordsError
    from analysis.lib.report import write
    from analysis.lib.tables import markdown
    from simclr_lab.tracking.ledger import LedgerUnavailable

    module = importlib.import_module(f"analysis.{artefact}")
    try:
        made = module.make(study or module.STUDY, scale)
    except NoRecordsError as error:
        errors.print(str(error), markup=False)
        raise typer.Exit(2) from None
    except LedgerUnavailable as error:
        errors.print(str(error), markup=False)
        raise typer.Exit(4) from None
    paths = write(made, out)
    console.print(f"\n{made.title}\n\n{markdown(made.shown)}\n", markup=False, highlight=False)
    for note in made.notes:
        console.print(f"- {note}", markup=False, highlight=False)
    console.print("\nwritten: " + ", ".join(str(path) for path in paths), markup=False)


if __name__ == "__main__":
    app()
