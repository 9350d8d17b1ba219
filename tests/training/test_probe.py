"""What a step costs, measured by a child process; and what would fit where it does not."""

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import small_recipe

from simclr_lab.recipe import Recipe
from simclr_lab.training import probing
from simclr_lab.training.loop import Pretraining
from simclr_lab.training.probe import STEPS, is_out_of_memory, one_workers_part
from simclr_lab.training.probing import (
    Probed,
    Prober,
    micro_batches,
    probe,
    read_answer,
    shape_of,
    what_fits,
)

GIB = 2**30


def grouped(batch: int = 64, group: int = 8, **changes) -> Recipe:
    images = {"data__pretrain_images": 4 * batch, "batch_norm__group_images": group}
    return small_recipe(batch_size=batch, **images, **changes)


def test_a_worker_takes_a_few_steps_of_its_own_images() -> None:
    recipe = small_recipe(optimizer__warmup_unit="epochs", optimizer__warmup=1.0)
    local = one_workers_part(recipe, 2)
    assert local.batch_size == 8
    images = torch.zeros(8, 3, 16, 16, dtype=torch.uint8)
    steps = [e.step for e in Pretraining(local, 0, images, torch.arange(8)).epochs()]
    assert len(steps) == len(set(steps))
    assert steps[-1] - steps[0] >= STEPS  # after one that warms up


@pytest.mark.parametrize(("group", "workers", "local"), [(8, 1, 8), (32, 2, 32), (64, 4, 16)])
def test_groups_that_span_workers_are_cut_to_one_worker(
    group: int, workers: int, local: int
) -> None:
    part = one_workers_part(grouped(group=group), workers)
    assert part.batch_norm.group_images == local


def test_a_child_measures_seconds_and_memory() -> None:
    found = probe(small_recipe(), 1, None)
    assert found.problem == ""
    assert found.seconds_per_step is not None
    assert found.seconds_per_step > 0
    assert found.memory_bytes is not None
    assert 2**26 < found.memory_bytes < 8 * GIB
    assert not found.out_of_memory


def held(found: Probed) -> int:
    assert found.memory_bytes is not None, found
    return found.memory_bytes


@pytest.mark.slow
def test_memory_grows_with_the_images_and_shrinks_with_micro_batches() -> None:
    whole = grouped(512, 32, encoder__channels=32)
    small, large = probe(grouped(32, 32), 1, None), probe(whole, 1, None)
    cut = probe(whole.with_fields({"compute.micro_batch_size": 32}), 1, None)
    assert held(large) > held(small) + 2**27
    assert held(cut) < held(large) - 2**27


@pytest.mark.slow
def test_a_limit_is_kept_by_the_child_itself() -> None:
    """It ends before it holds all that it asks for: no kernel has to kill anybody."""
    huge = small_recipe(
        batch_size=4096, data__pretrain_images=8192, data__image_size=64, encoder__channels=64
    )
    found = probe(huge, 1, GIB)
    assert found == Probed(limit_bytes=GIB, out_of_memory=True)


def test_how_a_child_ended_is_read() -> None:
    assert read_answer(-signal.SIGKILL, "", "", GIB) == Probed(limit_bytes=GIB, out_of_memory=True)
    failed = read_answer(1, "", "Traceback\nValueError: no\n", GIB)
    assert failed == Probed(problem="the probe failed: ValueError: no")
    answer = {"seconds_per_step": 0.5, "memory_bytes": 2 * GIB, "limit_bytes": GIB}
    over = read_answer(0, f"a library says hello\n{json.dumps(answer)}\n", "", GIB)
    assert over.out_of_memory
    assert over.memory_bytes == 2 * GIB
    assert not read_answer(0, json.dumps(answer | {"limit_bytes": None}), "", None).out_of_memory


def test_a_step_that_takes_too_long_is_no_measurement(monkeypatch) -> None:
    monkeypatch.setattr(probing, "DEADLINE_SECONDS", 0.01)
    assert "took longer" in probe(small_recipe(), 1, None).problem


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_that_mean_memory(error: Exception, memory: bool) -> None:
    assert is_out_of_memory(error) is memory


def test_a_shape_is_what_speed_and_memory_depend_on() -> None:
    recipe = small_recipe()
    shape = shape_of(recipe.flat(), 1)
    assert shape_of(small_recipe(loss__temperature=0.5, epochs=9).flat(), 1) == shape
    for other in (
        shape_of(recipe.flat(), 2),
        shape_of(small_recipe(batch_size=24).flat(), 1),
        shape_of(small_recipe(encoder__channels=16).flat(), 1),
        shape_of(small_recipe(compute__activation_checkpointing=True).flat(), 1),
    ):
        assert other != shape
    old = {n: v for n, v in recipe.flat().items() if n != "compute.activation_checkpointing"}
    assert shape_of(old, 1) == shape  # recorded before the field existed


class Machine:
    """A pretended child: memory is so much an image of what is embedded at a time."""

    def __init__(self, per_image: int = 100, kept: float = 0.5) -> None:
        self.per_image, self.kept = per_image, kept
        self.asked: list[Recipe] = []

    def __call__(self, recipe: Recipe, workers: int, limit: int | None) -> Probed:
        self.asked.append(recipe)
        micro = recipe.compute.micro_batch_size
        images = recipe.batch_size // workers if micro == "whole" else micro
        share = self.kept if recipe.compute.activation_checkpointing else 1.0
        held = int(images * self.per_image * share)
        return Probed(0.1, held, limit, limit is not None and held > limit)


def prober(file: Path, machine: Machine, limit: int | None, where: str = "here") -> Prober:
    return Prober(file, where, limit, lambda text: None, machine)


def test_a_shape_is_probed_once_and_remembered(tmp_path: Path) -> None:
    file, machine = tmp_path / "home" / "probes.json", Machine()
    first = prober(file, machine, 10_000)(grouped(), 1)
    again = prober(file, machine, 10_000)
    assert again(grouped(loss__temperature=0.7), 1) == first
    assert len(machine.asked) == 1
    again(grouped(), 2)
    prober(file, machine, 10_000, "another machine")(grouped(), 1)
    assert len(machine.asked) == 3
    file.write_text("{rubbish")
    prober(file, machine, 10_000)(grouped(), 1)
    assert len(machine.asked) == 4


def test_a_remembered_probe_is_judged_by_todays_limit(tmp_path: Path) -> None:
    file, machine = tmp_path / "probes.json", Machine()
    assert not prober(file, machine, 10_000)(grouped(), 1).out_of_memory
    assert prober(file, machine, 6_000)(grouped(), 1).out_of_memory
    assert not prober(file, machine, 7_000)(grouped(), 1).out_of_memory
    assert len(machine.asked) == 1


def test_more_memory_is_a_reason_to_ask_again(tmp_path: Path) -> None:
    dead = Probed(limit_bytes=1_000, out_of_memory=True)
    assert dead.under(900) == replace(dead, limit_bytes=900)
    assert dead.under(2_000) is None
    assert Probed(problem="no").under(1_000) is None


def test_what_went_wrong_is_not_remembered(tmp_path: Path) -> None:
    file = tmp_path / "probes.json"
    asked = Prober(file, "", None, lambda text: None, lambda r, w, m: Probed(problem="lost"))
    assert asked(grouped(), 1).problem == "lost"
    assert not file.exists()


@pytest.mark.parametrize(
    ("batch", "group", "workers", "now", "sizes"),
    [
        (64, 8, 1, "whole", [32, 16, 8]),
        (64, 8, 2, "whole", [16, 8]),
        (96, 24, 1, "whole", [48, 24]),
        (64, 8, 1, 16, [8]),
        (64, 64, 1, "whole", []),
        (64, 32, 2, "whole", []),
    ],
)
def test_micro_batches_hold_whole_groups(
    batch: int, group: int, workers: int, now: object, sizes: list[int]
) -> None:
    recipe = grouped(batch, group, compute__micro_batch_size=now)
    assert list(micro_batches(recipe, workers)) == sizes
    for size in sizes:  # every one of them is a recipe
        recipe.with_fields({"compute.micro_batch_size": size})


def test_the_largest_micro_batch_that_fits_is_proposed(tmp_path: Path) -> None:
    ask = prober(tmp_path / "p.json", Machine(), 2_000)
    found = what_fits(grouped(), 1, ask)
    assert found is not None
    assert found[0] == {"compute.micro_batch_size": 16}
    assert found[1].memory_bytes == 1_600


def test_norms_over_the_whole_batch_are_offered_activation_checkpointing(tmp_path: Path) -> None:
    whole = small_recipe(batch_size=64, data__pretrain_images=256)
    found = what_fits(whole, 1, prober(tmp_path / "p.json", Machine(), 4_000))
    assert found is not None
    assert found[0] == {"compute.activation_checkpointing": True}


def test_both_together_and_then_nothing(tmp_path: Path) -> None:
    both = what_fits(grouped(), 1, prober(tmp_path / "p.json", Machine(), 500))
    assert both is not None
    assert both[0] == {"compute.micro_batch_size": 8, "compute.activation_checkpointing": True}
    assert what_fits(grouped(), 1, prober(tmp_path / "p.json", Machine(), 300)) is None


def test_the_parent_needs_no_torch() -> None:
    import subprocess

    code = "import sys, simclr_lab.training.probing; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
