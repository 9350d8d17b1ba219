"""The arrows of the architecture: kept today, and a broken one would be seen."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"ray", "optuna", "mlflow"}


def lint(*options: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_arrow_holds() -> None:
    done = lint("--no-cache")
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_the_linter_sees_a_wrong_arrow(tmp_path: Path) -> None:
    """The same contracts with one real import forbidden: the linter must object."""
    (tmp_path / "pyproject.toml").write_text(
        "[tool.importlinter]\nroot_packages = ['simclr_lab']\ninclude_external_packages = true\n"
        "[[tool.importlinter.contracts]]\nname = 'x'\ntype = 'forbidden'\n"
        "source_modules = ['simclr_lab.training.cluster']\nforbidden_modules = ['ray']\n"
    )
    done = lint("--no-cache", folder=tmp_path)
    assert done.returncode == 1
    assert "simclr_lab.training.cluster is not allowed to import ray" in done.stdout


def test_every_module_is_under_a_contract_for_each_heavy_library() -> None:
    """A new module must be added to the contracts, or be one of the few that may."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    package = ROOT / "platform" / "simclr_lab"
    modules = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts)
        for path in package.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }
    may = {
        "ray": {
            f"simclr_lab.training.{n}" for n in ("worker", "trainer", "cluster", "shared_data")
        },
        "optuna": set(),
        "mlflow": {f"simclr_lab.tracking.{n}" for n in ("mlflow_runs", "mlflow_tracker", "ledger")},
    }
    for library in HEAVY:
        sources = {
            source
            for contract in contracts
            if contract.get("allow_indirect_imports") and contract["forbidden_modules"] == [library]
            for source in contract["source_modules"]
        }
        free = {m for m in modules if not any(m == s or m.startswith(f"{s}.") for s in sources)}
        if library != "mlflow":
            free = {m for m in free if not m.startswith("simclr_lab.tuning.")}
        assert free == may[library], library
