"""The shape of the checkout that the import system and every user rely on."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_platform_is_a_source_root() -> None:
    """A module here would shadow the standard library's platform: torch, ray, mlflow would die."""
    inside = {path.name for path in (ROOT / "platform").iterdir()} - {"__pycache__"}
    assert inside == {"simclr_lab"}


def test_top_level_is_what_users_were_promised() -> None:
    for name in ("platform", "search_spaces", "analysis", "tests", "pyproject.toml"):
        assert (ROOT / name).exists(), name


def test_tests_are_no_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_standard_library_platform_is_intact() -> None:
    code = "import platform; assert platform.system() and 'simclr' not in (platform.__file__ or '')"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_help_and_spaces_load_without_the_heavy_libraries() -> None:
    """--help, recipes and study files stay instant: nobody waits for torch to read a file."""
    code = (
        "import sys; import simclr_lab.cli.app, simclr_lab.spaces.files, simclr_lab.recipes;"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'pandas', 'numpy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_no_file_or_function_outgrows_its_idea() -> None:
    import ast

    files = [*(ROOT / "platform").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")]
    for path in files:
        text = path.read_text()
        assert text.count("\n") <= 350, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name}"
