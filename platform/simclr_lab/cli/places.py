"""Where things are, and the MLflow UI."""

import os
import sys
from pathlib import Path

from simclr_lab.cli.exits import output
from simclr_lab.tracking.home import home, storage, tracking_uri


def show_places(out: Path) -> None:
    """Print where everything is."""
    rows = [
        ("tables and figures", str(out.resolve())),
        ("runs (MLflow)", tracking_uri()),
        ("encoders and checkpoints", str(storage() / "cells")),
        ("everything of this user", str(home())),
    ]
    for name, place in rows:
        output.print(f"{name:<26}{place}", markup=False)
    command = sys.argv[0] if sys.argv[0].endswith("simclr-lab") else "simclr-lab"
    text = f"To look at the runs:      {command} ui    (then open http://127.0.0.1:5000)"
    output.print(text, markup=False)


def open_ui(port: int) -> None:
    """Replace this process by the MLflow server, on loopback only."""
    uri = tracking_uri()
    output.print(f"MLflow on http://127.0.0.1:{port} (Ctrl-C ends it), runs in {uri}", markup=False)
    if uri.startswith("http"):
        output.print("The ledger is a server already: open that address.", markup=False)
        return
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "1"
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [*command, "--backend-store-uri", uri])
