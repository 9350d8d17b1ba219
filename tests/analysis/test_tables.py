"""Artefacts: every number with its n and its runs, what is missing shown as missing."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis import table_5_temperature, table_sweep
from analysis.__main__ import ARTEFACTS, app
from analysis.lib.budget import PAPER_IMAGES
from analysis.lib.paper import FOLDER, published
from analysis.lib.records import NoRecordsError, split
from analysis.lib.report import write
from analysis.lib.tables import escape, markdown
from simclr_lab.cell import CellRecord, EpochReport, Outcome, State, StudyCell, StudyRecord
from simclr_lab.recipes import named_recipe
from simclr_lab.tracking.ledger import Ledger
from simclr_lab.tracking.mlflow_tracker import MlflowTracker

METRIC = "linear/test_top1"
TOP1 = {
    ("loss.temperature=0.1", 0): 44.0,
    ("loss.temperature=0.1", 1): 45.0,
    ("loss.temperature=0.5", 0): 41.0,
    ("loss.temperature=0.5", 1): 42.5,
    ("loss.temperature=0.3", 0): 43.0,
    ("random encoder", 0): 30.0,
    ("raw pixels", 0): 35.0,
}


def record(arm: str, seed: int, value: float | None, **changes) -> CellRecord:
    recipe = named_recipe("demo").flat()
    if "=" in arm:
        recipe["loss.temperature"] = float(arm.split("=")[1])
    metrics = {} if value is None else {METRIC: value, "val/contrastive_accuracy": 60.0}
    cell = CellRecord(
        key=f"{arm}/{seed}".replace(" ", "-"),
        seed=seed,
        state=State.FINISHED,
        recipe=recipe,
        scale="demo",
        data_digest="d",
        method_version=1,
        outcome=Outcome.OK,
        metrics=metrics,
        tags={"hardware": "one kind"},
    )
    return replace(cell, **changes)


def store(records: dict[tuple[str, int], CellRecord], missing: list[StudyCell]) -> None:
    """Write a study of these cells into the ledger as a launch would."""
    tracker = MlflowTracker(Ledger().tracking_uri)
    for cell in records.values():
        tracker.start(cell)
        tracker.report(cell.key, EpochReport(3, 30, 1_700_000_000_000, cell.metrics))
        tracker.finish(cell)
    cells = [StudyCell(cell.key, arm, seed) for (arm, seed), cell in records.items()]
    tracker.open_study(StudyRecord("temperature", "demo", "ablation", METRIC, (*cells, *missing)))
    assert tracker.close(60)
    assert tracker.errors == []


@pytest.fixture
def study() -> None:
    """Two whole arms, one with a diverged cell, one wholly missing, and the references."""
    records = {place: record(*place, value) for place, value in TOP1.items()}
    place = ("loss.temperature=0.3", 1)
    records[place] = record(*place, None, outcome=Outcome.DIVERGED)
    store(records, [StudyCell(f"x{s}", "loss.temperature=1.0", s) for s in (0, 1)])


def row(table: pd.DataFrame, arm: str) -> "pd.Series":
    return table.set_index("arm").loc[arm]


def test_table_5_counts_means_and_papers_numbers(study) -> None:
    made = table_5_temperature.make("temperature", "demo")
    first = row(made.numbers, "loss.temperature=0.1")
    assert (first["top1"], first["n"], first["wanted"]) == (44.5, 2, 2)
    assert first["top1_high"] - first["top1"] == pytest.approx(12.7062 * 0.5, rel=1e-4)
    assert (first["paper_top1"], first["paper_entropy"]) == (64.4, 4.5)
    diverged = row(made.numbers, "loss.temperature=0.3")
    assert (diverged["n"], diverged["diverged"]) == (1, 1)
    assert math.isnan(diverged["paper_top1"])
    missing = row(made.numbers, "loss.temperature=1.0")
    assert (missing["n"], missing["finished"], missing["paper_top1"]) == (0, 0, 58.0)
    assert math.isnan(missing["top1"])
    assert row(made.numbers, "raw pixels")["top1"] == 35.0
    assert len(made.runs["loss.temperature=0.1"]) == 2


def test_table_5_as_a_person_reads_it(study) -> None:
    made = table_5_temperature.make("temperature", "demo")
    shown = made.shown.set_index("temperature")
    assert shown.loc["0.1", "top-1"] == "44.5 ± 6.4"
    assert shown.loc["0.1", "paper top-1"] == "64.4"
    assert shown.loc["0.3", "top-1"] == "43.0"
    assert shown.loc["0.3", "n"] == "1 of 2 (1 diverged)"
    assert shown.loc["0.3", "paper top-1"] == "-"
    assert shown.loc["1", "top-1"] == "missing"
    assert shown.loc["1", "n"] == "0 of 2"
    assert "0.0" not in shown.to_numpy().flatten().tolist()
    notes = " ".join(made.notes)
    assert "Do the arms separate? No." in notes
    assert "Not compared, for lack of a seed: loss.temperature=0.3." in notes
    assert "1 finished cells have no accuracy" in notes
    assert "2 of 8 cells are missing" in notes
    assert f"{PAPER_IMAGES / 1e6:.0f} million" in notes


def test_six_files_are_written_and_hold_the_numbers(study, tmp_path: Path) -> None:
    made = table_5_temperature.make("temperature", "demo")
    paths = write(made, tmp_path)
    assert {path.suffix for path in paths} == {".md", ".csv", ".tex", ".json", ".png", ".svg"}
    assert all(path.stat().st_size > 300 for path in paths)
    facts = json.loads((tmp_path / "table_5_temperature.json").read_text())
    assert facts["study"] == "temperature"
    assert len(facts["rows"]) == len(made.numbers)
    assert facts["runs"]["loss.temperature=0.1"] == made.runs["loss.temperature=0.1"]
    tex = (tmp_path / "table_5_temperature.tex").read_text()
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"44.5 $\pm$ 6.4"):
        assert rule in tex
    frame = pd.read_csv(tmp_path / "table_5_temperature.csv")
    assert frame["top1"].tolist()[0] == 44.5
    again = write(made, tmp_path / "again")
    for first, second in zip(sorted(paths), sorted(again), strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_rows_of_another_method_version_are_left_out(study) -> None:
    frame = Ledger().runs("temperature", "demo")
    frame.loc[frame["arm"] == "loss.temperature=0.1", "method_version"] = 0
    records = split(frame, "temperature", "demo", METRIC)
    assert records.outdated == 2
    assert "loss.temperature=0.1" not in set(records.arms["arm"])


def test_numbers_of_unfinished_cells_do_not_count(study) -> None:
    frame = Ledger().runs("temperature", "demo")
    frame.loc[(frame["arm"] == "loss.temperature=0.1") & (frame["seed"] == 1), "state"] = "running"
    table = table_5_temperature.compute(split(frame, "temperature", "demo", METRIC))
    first = row(table, "loss.temperature=0.1")
    assert (first["top1"], first["n"], first["finished"]) == (44.0, 1, 1)


def test_mixed_hardware_is_marked(study) -> None:
    frame = Ledger().runs("temperature", "demo")
    frame.loc[(frame["arm"] == "loss.temperature=0.1") & (frame["seed"] == 1), "hardware"] = "other"
    records = split(frame, "temperature", "demo", METRIC)
    table = table_5_temperature.compute(records)
    assert table_5_temperature.show(table)["top-1"][0].endswith("†")
    assert any("mixes" in note for note in table_5_temperature.notes(records, table))


def test_a_sweep_is_ranked_best_first() -> None:
    arms = {
        f"loss.temperature={t}, batch_size={b}": v
        for t, b, v in ((0.1, 64, 40.0), (0.5, 128, 42.0), (0.9, 64, None))
    }
    records = {}
    for arm, value in arms.items():
        cell = record("baseline", 0, value, outcome=Outcome.OK if value else Outcome.DIVERGED)
        temperature, batch = (float(part.split("=")[1]) for part in arm.split(","))
        fields = {"loss.temperature": temperature, "batch_size": int(batch)}
        records[(arm, 0)] = replace(cell, key=f"k{temperature}", recipe=cell.recipe | fields)
    store(records, [])
    made = table_sweep.make("temperature", "demo")
    assert made.shown["rank"].tolist() == ["1", "2", "-"]
    assert made.shown[METRIC].tolist() == ["42.0", "40.0", "missing"]
    assert made.shown["loss.temperature"].tolist() == ["0.5", "0.1", "0.9"]
    assert made.shown["outcome"].tolist()[2] == "diverged"
    assert len(made.figure.axes) == 2


def test_the_command_writes_and_prints(study, tmp_path: Path) -> None:
    arguments = ["table_5_temperature", "--scale", "demo", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "44.5 ± 6.4" in result.stdout
    assert (tmp_path / "table_5_temperature.png").exists()


def test_the_command_refuses_what_does_not_exist(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["table_99"])
    assert result.exit_code == 2
    assert all(name in result.stderr for name in ARTEFACTS)
    result = CliRunner().invoke(app, ["table_5_temperature", "--study", "none"])
    assert result.exit_code == 2
    assert "no study 'none' at scale 'laptop'" in result.stderr


def test_a_ledger_that_is_away_and_a_study_that_is_no_sweep(study, monkeypatch) -> None:
    frame = Ledger().runs("temperature", "demo")
    plain = split(frame[~frame["arm"].str.contains("=")], "temperature", "demo", METRIC)
    with pytest.raises(NoRecordsError, match="names a searched field"):
        table_sweep.searched_fields(plain)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    result = CliRunner().invoke(app, ["table_5_temperature"])
    assert result.exit_code == 4
    assert "cannot be reached" in result.stderr


def test_the_papers_numbers_name_their_source() -> None:
    names = sorted(path.stem for path in FOLDER.glob("*.csv"))
    assert len(names) == 22
    for name in names:
        assert "source" in published(name).columns, name
    assert published("table5_temperature_norm")["top1"].tolist() == [
        59.7,
        64.4,
        60.7,
        58.0,
        57.2,
        57.0,
    ]
    with pytest.raises(KeyError, match="table5_temperature_norm"):
        published("table_99")


def test_text_of_tables() -> None:
    frame = pd.DataFrame({"a": ["x|y", "1"], "b": ["2", "long cell"]})
    assert markdown(frame).splitlines() == [
        "| a    | b         |",
        "| ---- | --------- |",
        "| x\\|y | 2         |",
        "| 1    | long cell |",
    ]
    assert escape("50% of a_b & ±") == r"50\% of a\_b \& $\pm$"
