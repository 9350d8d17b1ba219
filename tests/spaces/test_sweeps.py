"""Sweeps in files: several metrics, conditions, first points, pruning; and each mistake in them."""

from pathlib import Path

import pytest
import torch

from simclr_lab.recipe import Recipe
from simclr_lab.recipes import named_recipe
from simclr_lab.spaces.costs import (
    BLOCKS,
    COSTS,
    forward_multiplications,
    pretraining_multiplications,
)
from simclr_lab.spaces.domain import Choice, Range
from simclr_lab.spaces.errors import StudyError
from simclr_lab.spaces.files import load_study
from simclr_lab.spaces.sweep import Sweep
from simclr_lab.training.build import build_model

HEAD = 'metric = "linear/val_top1"\ntrials = 3\n'
SPACE = "[space]\nprojection.depth = { min = 0, max = 2 }\n"
LOSSES = '[space]\nloss.name = { choice = ["nt_xent", "nt_logistic", "margin_triplet"] }\n'
WHEN = "loss.temperature = { min = 0.05, max = 1.0, when = { loss.name = %s } }\n"

MISTAKES = [
    (f"{SPACE}[pruning]\nname = 'magic'", "pruning.name", "successive_halving"),
    (f"{SPACE}[pruning]\nname = 'median'\nreduction_factor = 3", "pruning", "has no reduction"),
    (f"{SPACE}[pruning]\nname = 'hyperband'\nreduction_factor = 1", "reduction_factor", "2"),
    (f"{SPACE}[pruning]\nname = 'median'\nmin_epochs = 0", "min_epochs", "greater than 0"),
    (f"{SPACE}epochs = {{ min = 1, max = 2 }}\n[pruning]\nname = 'median'", "space.epochs", "one"),
    (f"{SPACE}[sampler]\nname = 'random'\nn_startup_trials = 3", "sampler", "no n_startup"),
    (f"{SPACE}[sampler]\nname = 'nsga2'", "sampler.name", "with one metric"),
    (f"minimize = ['cost/dollars']\n{SPACE}", "minimize", "cost/forward_multiplications"),
    (f"maximize = ['knn/test_top1']\n{SPACE}", "maximize", "val metrics"),
    (f"maximize = ['linear/val_top1']\n{SPACE}", "maximize", "twice"),
    (
        f"minimize = ['cost/forward_multiplications']\n{SPACE}[pruning]\nname = 'median'",
        "pruning",
        "several metrics",
    ),
    (f"{SPACE}[[first]]\nprojection.depth = 3", "first.0.projection.depth", "its domain"),
    (f"{SPACE}[[first]]\nprojection.depth = 1.0", "first.0.projection.depth", "its domain"),
    (f"{SPACE}[[first]]\nloss.temperature = 0.1", "first.0.loss.temperature", "not searched"),
    (f"{SPACE}[[first]]\nloss.temprature = 0.1", "loss.temprature", "did you mean"),
    (f"first = 3\n{SPACE}", "first", "3"),
    (
        f"{LOSSES}{WHEN % '[%s]' % repr('nt_xent')}[[first]]\nloss.temperature = 0.1",
        "first.0.loss.temperature",
        "only when loss.name in ['nt_xent']",
    ),
    (
        f"{LOSSES}{WHEN % '[%s]' % repr('nt_xent')}"
        "[[first]]\nloss = { name = 'nt_logistic', temperature = 0.1 }",
        "first.0.loss.temperature",
        "only when",
    ),
    (LOSSES + WHEN % "['cross_entropy']", "loss.temperature.when.loss.name", "its domain"),
    (LOSSES + WHEN % "[]", "loss.temperature.when.loss.name", "a list"),
    (LOSSES + WHEN % "'nt_xent'", "loss.temperature.when.loss.name", "a list"),
    (SPACE + WHEN % "['nt_xent']", "loss.temperature.when.loss.name", "is not searched"),
    (f"{SPACE}loss.margin = {{ min = 0.1, max = 1.0, when = 3 }}", "loss.margin.when", "a table"),
    (
        "[space]\nprojection.depth = { min = 0, max = 2, when = { projection.out_dim = [64] } }\n"
        "projection.out_dim = { choice = [64], when = { projection.depth = [1] } }",
        "projection.depth.when",
        "depends on itself",
    ),
]


def sweep(folder: Path, text: str) -> Sweep:
    path = folder / "study.toml"
    path.write_text(HEAD + text)
    study = load_study(path)
    assert isinstance(study, Sweep)
    return study


@pytest.mark.parametrize(("text", "field", "hint"), MISTAKES)
def test_mistakes(tmp_path: Path, text: str, field: str, hint: str) -> None:
    with pytest.raises(StudyError) as caught:
        sweep(tmp_path, text).check(named_recipe("demo"), "demo")
    assert caught.value.field.endswith(field)
    assert hint in caught.value.problem
    assert "\n" not in str(caught.value)


def test_conditions_come_before_what_depends_on_them(tmp_path: Path) -> None:
    study = sweep(
        tmp_path,
        "[space]\nloss.margin = { min = 0.1, max = 1.0, when = { loss.name = ['margin_triplet'] } }"
        "\nloss.semi_hard = { choice = [true, false], when = { 'loss.name' = ['margin_triplet'] } }"
        "\nloss.name = { choice = ['nt_xent', 'margin_triplet'] }",
    )
    study.check(named_recipe("demo"), "demo")
    when = (("loss.name", ("margin_triplet",)),)
    domains = study.domains(named_recipe("demo"), "demo")
    assert list(domains) == ["loss.name", "loss.margin", "loss.semi_hard"]
    assert domains["loss.margin"] == Range(0.1, 1.0, when=when)
    assert domains["loss.semi_hard"] == Choice((True, False), when=when)


def test_what_is_judged_is_evaluated(tmp_path: Path) -> None:
    base = named_recipe("demo").with_fields({"evaluation.protocols": ["linear"]})
    pruned = sweep(tmp_path, f"{SPACE}[pruning]\nname = 'hyperband'")
    assert pruned.base_at(base, "demo").evaluation.protocols == ("linear", "ridge")
    here = sweep(tmp_path, f"{SPACE}[scale.demo]\npruning = {{ name = 'median', min_epochs = 2 }}")
    assert here.pruning_at("laptop") is None
    assert here.pruning_at("demo").options() == {"min_epochs": 2}
    assert here.base_at(base, "demo").evaluation.protocols == ("linear", "ridge")
    several = sweep(tmp_path, f"maximize = ['knn/val_top1']\n{SPACE}")
    assert several.base_at(base, "demo").evaluation.protocols == ("linear", "knn")
    assert several.objectives == {"linear/val_top1": "maximize", "knn/val_top1": "maximize"}


def test_first_points_may_be_partial_and_follow_the_scales_space(tmp_path: Path) -> None:
    study = sweep(
        tmp_path,
        "[space]\nprojection.depth = { min = 0, max = 2 }\nloss.temperature={min=0.1,max=1.0}\n"
        "[[first]]\nprojection.depth = 2\n[[first]]\nloss = { temperature = 0.1 }\n"
        "[scale.laptop]\nspace.projection.depth = { min = 0, max = 1 }",
    )
    points = study.first_points(named_recipe("demo"), "demo")
    assert points == [{"projection.depth": 2}, {"loss.temperature": 0.1}]
    with pytest.raises(StudyError, match=r"first\.0\.projection\.depth"):
        study.check(named_recipe("laptop"), "laptop")


@pytest.mark.parametrize("depth", sorted(BLOCKS))
@pytest.mark.parametrize(
    ("stem", "loss"),
    [("imagenet", "nt_xent"), ("cifar", "nt_xent"), ("stride2", "cross_entropy")],
)
def test_costs_are_what_the_layers_multiply(depth: int, stem: str, loss: str) -> None:
    """The twin: run the model and count at every convolution and dense layer."""
    recipe = Recipe().with_fields(
        {
            "encoder.depth": depth,
            "encoder.stem": stem,
            "loss.name": loss,
            "encoder.channels": 8,
            "data.image_size": 18,
            "data.pretrain_images": 100,
            "batch_size": 40,
            "epochs": 2,
            "optimizer.warmup": 0.0,
        }
    )
    model = build_model(recipe, 0).eval()
    counted = {"encoder": 0, "head": 0}

    def count(part: str):
        def hook(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
            counted[part] += output.numel() * module.weight[0].numel()

        return hook

    for part in counted:
        for module in model.get_submodule(part).modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.register_forward_hook(count(part))
    model.head(model.encoder(torch.zeros(1, 3, 18, 18)))
    assert forward_multiplications(recipe) == counted["encoder"]
    passes = 3 * 2 * recipe.total_steps * 40  # forward and twice that backward, two views
    assert pretraining_multiplications(recipe) == passes * sum(counted.values())


def test_what_does_not_train_costs_nothing_to_train() -> None:
    pixels = named_recipe("demo").with_fields({"encoder.kind": "raw_pixels"})
    assert [cost(pixels) for cost in COSTS.values()] == [0.0, 0.0]
    assert pretraining_multiplications(named_recipe("demo").with_fields({"epochs": 0})) == 0.0
