"""Activations computed again: the same run to the last bit, with norms over the whole batch."""

from contextlib import nullcontext

import pytest
import torch
import workers
from distributed import run_workers
from small import pictures, small_recipe

from simclr_lab.contrastive import recompute
from simclr_lab.contrastive.encoder import resnet
from simclr_lab.identity import cell_key

VARIANTS = {
    "nt_xent": {},
    "lars": {"optimizer__name": "lars", "optimizer__learning_rate": 0.5},
    "bottleneck": {"encoder__depth": 50, "encoder__stem": "imagenet"},
    "half precision": {"compute__precision": "bfloat16", "compute__channels_last": True},
    "groups in parts": {"batch_norm__group_images": 4, "compute__micro_batch_size": 8},
}


def case(**changes) -> dict:
    base = {
        "optimizer__name": "sgd",
        "optimizer__learning_rate": 0.05,
        "optimizer__learning_rate_rule": "none",
        "optimizer__warmup": 0.0,
        "augment__blur_probability": 0.5,
        "data__image_size": 32,  # at 16 pixels the kernel is one pixel wide
    }
    recipe = small_recipe(**base | changes)
    return {"recipe": recipe, "seed": 3, "images": pictures(size=32), "steps": 4}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_run_is_the_same_to_the_last_bit(name: str) -> None:
    kept = workers.pretrain(**case(**VARIANTS[name]))
    again = workers.pretrain(**case(compute__activation_checkpointing=True, **VARIANTS[name]))
    assert not torch.equal(kept["weights"], kept["before"])
    for part in ("losses", "gradients", "weights", "buffers"):
        assert torch.equal(again[part], kept[part]), part


def test_also_on_two_workers_whose_norms_span_both() -> None:
    changes = {"compute__precision": "float64"}
    (kept,) = zip(*run_workers(workers.pretrain_many, 2, [case(**changes)]), strict=True)
    changes |= {"compute__activation_checkpointing": True}
    (again,) = zip(*run_workers(workers.pretrain_many, 2, [case(**changes)]), strict=True)
    for one, other in zip(kept, again, strict=True):
        for part in ("losses", "gradients", "weights", "buffers"):
            torch.testing.assert_close(other[part], one[part], rtol=1e-12, atol=1e-12)


def test_norms_that_moved_again_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = workers.pretrain(**case())
    monkeypatch.setattr(recompute, "frozen_statistics", lambda module: nullcontext())
    twice = workers.pretrain(**case(compute__activation_checkpointing=True))
    assert torch.equal(twice["weights"], kept["weights"])
    assert float((twice["buffers"] - kept["buffers"]).norm() / kept["buffers"].norm()) > 0.01


def kept_numbers(recompute_activations: bool) -> int:
    """Numbers that the graph of one forward holds on to, each tensor counted once."""
    network = resnet(50, stem="cifar", channels=8)
    network.recompute = recompute_activations
    owned = {p.data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in owned:
            kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        h = network(torch.rand(8, 3, 32, 32))
    h.sum().backward()
    return sum(kept.values())


def test_most_activations_are_forgotten() -> None:
    assert kept_numbers(True) < kept_numbers(False) / 3


def test_a_forward_without_gradients_or_in_evaluation_is_not_recomputed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("nothing to recompute")

    monkeypatch.setattr("simclr_lab.contrastive.encoder.recomputed", refuse)
    network = resnet(18, stem="stride2", channels=8)
    network.recompute = True
    with torch.no_grad():
        network(torch.rand(4, 3, 16, 16))
    network.eval()(torch.rand(4, 3, 16, 16))
    with pytest.raises(AssertionError, match="nothing to recompute"):
        network.train()(torch.rand(4, 3, 16, 16))


def test_the_key_does_not_know_how_much_memory_there_was() -> None:
    recipes = [small_recipe(), small_recipe(compute__activation_checkpointing=True)]
    assert len({cell_key(recipe, 0, "d") for recipe in recipes}) == 1
