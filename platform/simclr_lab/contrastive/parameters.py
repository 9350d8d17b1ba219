"""Parameters by their role: which are adapted and decayed, which are not (spec 6.1)."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from simclr_lab.contrastive.batch_norm import GroupBatchNorm

NORMS = (GroupBatchNorm, _NormBase, nn.LayerNorm, nn.GroupNorm)


def parameter_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(adapted, excluded): excluded are all parameters of norm layers and every bias."""
    adapted: list[nn.Parameter] = []
    excluded: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_excluded = isinstance(module, NORMS) or name == "bias"
            (excluded if is_excluded else adapted).append(parameter)
    return adapted, excluded
