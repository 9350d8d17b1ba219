"""The benchmarks' accounts: every second of a slot is somewhere, and costs are per cell."""

import sys
from pathlib import Path

import pytest

from benchmarks import busy_share, noop_study
from benchmarks.lib.watching import Moment, Watched, watch


def cell(number: int, begin: float, end: float) -> list[Moment]:
    key = f"{number:020x}"
    return [Moment("", begin, begin, "started", key), Moment("", end, end, "finished", key)]


def watched(*moments: Moment, wall: float = 100.0) -> Watched:
    ordered = tuple(sorted(moments, key=lambda moment: moment.wall))
    return Watched(ordered, wall, 50.0, 2**20, {"driver": 50.0, "cells": 40.0, "Ray": 10.0})


def test_every_second_of_both_slots_is_accounted_for() -> None:
    log = Moment("log: somewhere", 5.0, 5.0)
    cells = [*cell(1, 10, 40), *cell(2, 12, 50), *cell(3, 43, 80), *cell(4, 51, 90)]
    found = busy_share.parts(watched(log, *cells))
    assert found == {
        "training or evaluating": 30 + 38 + 37 + 39,
        "before Ray": 10,
        "until the first cell": 5 + 7,
        "between cells": 3 + 1,
        "for the other's last cell": 10,
        "the end": 20,
    }
    assert sum(found.values()) == 200
    summary = busy_share.summary(watched(log, *cells))
    assert summary["share"] == 144 / 200
    assert summary["share_while_running"] == 144 / 148


def test_a_cell_costs_what_the_driver_spends_from_end_to_end() -> None:
    cells = [Moment("", n, 0.5 * n + 0.01 * n**2, "finished", f"{n:020x}") for n in range(31)]
    summary = noop_study.summary(31, watched(*cells))
    first, last = summary["cpu_seconds_by_third"]
    assert first == pytest.approx(0.5 + 0.01 * 10)  # a quadratic cost is seen as a growing one
    assert last == pytest.approx(0.5 + 0.01 * 50)


def test_a_command_is_watched_line_by_line(tmp_path: Path) -> None:
    code = (
        f"print('[0/1] started   {'a' * 20} seed 0'); print('log: x'); import time; time.sleep(2)"
    )
    found = watch([sys.executable, "-c", code], tmp_path)
    assert [moment.key for moment in found.moments] == ["a" * 20, ""]
    assert len(found.events("started")) == 1
    assert found.peak_memory > 2**20
    with pytest.raises(RuntimeError, match="ended with 3"):
        watch([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)
