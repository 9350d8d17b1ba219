"""LARS against the official code's values and a twin in plain floats."""

import copy
import math

import pytest
import torch
from golden_values import golden
from torch import nn

from simclr_lab.contrastive.batch_norm import GroupBatchNorm
from simclr_lab.contrastive.encoder import resnet
from simclr_lab.contrastive.lars import LARS
from simclr_lab.contrastive.model import SimCLR
from simclr_lab.contrastive.parameters import parameter_groups
from simclr_lab.contrastive.projection import projection_head
from simclr_lab.contrastive.supervised import classifier

RATES = (0.0, 0.5, 1.0, 0.7, 0.2)
CASES = golden("lars")["cases"]


def make_parameters() -> dict[str, nn.Parameter]:
    values = {
        "kernel": [[0.5, -0.2, 0.1], [0.3, 0.8, -0.4]],
        "bias": [0.0, 0.0, 0.0],
        "gamma": [1.0, 1.0, 1.0],
        "zero_kernel": [[0.0, 0.0], [0.0, 0.0]],
    }
    return {
        name: nn.Parameter(torch.tensor(value).double())  # the reference began in float32
        for name, value in values.items()
    }


def optimizer_of(parameters: dict[str, nn.Parameter], case: dict) -> LARS:
    groups = [
        {"params": [parameters["kernel"], parameters["zero_kernel"]], "adapt": True},
        {"params": [parameters["bias"], parameters["gamma"]], "adapt": False},
    ]
    return LARS(
        groups,
        0.0,
        momentum=0.9,
        weight_decay=1e-4,
        trust_coefficient=0.001,
        nesterov=case["use_nesterov"],
        classic_momentum=case["classic_momentum"],
    )


def set_gradient(parameter: nn.Parameter, step: int) -> None:
    j = torch.arange(parameter.numel(), dtype=torch.float64).view_as(parameter)
    parameter.grad = 0.1 * torch.cos(0.9 * j + step)


@pytest.mark.parametrize("case", CASES)
def test_official_values(case) -> None:
    parameters = make_parameters()
    optimizer = optimizer_of(parameters, case)
    for step, (rate, expected) in enumerate(
        zip(RATES, case["params_after_each_step"], strict=True)
    ):
        for parameter in parameters.values():
            set_gradient(parameter, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        for name, parameter in parameters.items():
            wanted = torch.tensor(expected[name], dtype=torch.float64)
            assert torch.allclose(parameter.detach(), wanted, rtol=1e-7, atol=3e-8), (step, name)


def test_equals_a_twin_in_plain_floats() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    optimizer = LARS([{"params": [weight]}], 0.5, weight_decay=0.1, trust_coefficient=0.02)
    w, v = [3.0, 4.0], [0.0, 0.0]
    for step in range(4):
        gradient = [0.3 + step, -0.2]
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        g = [x + 0.1 * y for x, y in zip(gradient, w, strict=True)]
        trust = 0.02 * math.hypot(*w) / math.hypot(*g)
        v = [0.9 * x + 0.5 * trust * y for x, y in zip(v, g, strict=True)]
        w = [x - y for x, y in zip(w, v, strict=True)]
        assert weight.tolist() == pytest.approx(w, rel=1e-12)


def test_without_adaptation_there_is_no_weight_decay_and_no_trust() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = LARS([{"params": [weight], "adapt": False}], 0.1, weight_decay=0.5)
    weight.grad = torch.tensor([1.0])
    optimizer.step()
    assert float(weight.detach()) == pytest.approx(1.9)


def test_state_survives_saving_and_loading() -> None:
    first, second = make_parameters(), make_parameters()
    optimizers = [optimizer_of(p, CASES[0]) for p in (first, second)]
    for group in optimizers[0].param_groups:
        group["lr"] = 0.5
    for step in range(3):
        for parameter in first.values():
            set_gradient(parameter, step)
        optimizers[0].step()
    for name, parameter in second.items():
        parameter.data.copy_(first[name].data)
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    for parameters, optimizer in zip((first, second), optimizers, strict=True):
        for parameter in parameters.values():
            set_gradient(parameter, 3)
        optimizer.step()
    for name, parameter in first.items():
        assert torch.equal(parameter, second[name])


def test_norms_and_biases_are_excluded() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))
    adapted, excluded = parameter_groups(model)
    assert [p.shape for p in adapted] == [(4, 3), (2, 4)]
    assert [p.shape for p in excluded] == [(4,), (4,), (4,)]


@pytest.mark.parametrize("depth", [18, 50])
def test_of_a_whole_model_kernels_are_adapted_norms_and_biases_are_not(depth: int) -> None:
    encoder = resnet(depth, channels=8, group_images=4)
    model = SimCLR(encoder, projection_head(encoder.feature_dim, 8, 3, group_images=4))
    adapted, excluded = ({id(p) for p in group} for group in parameter_groups(model))
    kernels = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    norms = [m for m in model.modules() if isinstance(m, GroupBatchNorm)]
    shifts = [m.bias for m in norms if m.bias is not None]
    assert adapted == {id(p) for p in kernels}
    assert excluded == {id(m.weight) for m in norms} | {id(p) for p in shifts}
    assert len(shifts) == len(norms) - 1  # the head's last norm only scales
    assert len(adapted) + len(excluded) == len(list(model.parameters()))


def test_the_bias_of_a_classifier_is_excluded() -> None:
    head = classifier(4, 3)
    adapted, excluded = parameter_groups(SimCLR(nn.Identity(), head))
    assert [id(p) for p in adapted] == [id(head.weight)]
    assert [id(p) for p in excluded] == [id(head.bias)]
