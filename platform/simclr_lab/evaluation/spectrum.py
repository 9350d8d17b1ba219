"""What a linear projection head keeps: its squared eigenvalues (App. B.4, Fig. B.3)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from simclr_lab.contrastive.batch_norm import GroupBatchNorm
from simclr_lab.evaluation.measured import Measured

SHARE = 0.9


def squared_eigenvalues(weight: Float[Tensor, "p d"]) -> Float[Tensor, " d"]:
    """Squares of the real parts of the eigenvalues, the largest first; float64.

    Raises ValueError for a matrix that is not square.
    """
    if weight.shape[0] != weight.shape[1]:
        raise ValueError(
            f"the head's matrix is {tuple(weight.shape)}; allowed: square, since eigenvalues are "
            "asked for (projection.out_dim as wide as h)"
        )
    values: Tensor = torch.linalg.eigvals(weight.detach().double().cpu()).real.square()
    return values.sort(descending=True).values


def folded(dense: nn.Linear, norm: GroupBatchNorm) -> Float[Tensor, "p d"]:
    """The head's matrix with the scale of the batch norm behind it: rows times gamma / sigma."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale[:, None] * dense.weight


def spectrum(head: nn.Module) -> Measured:
    """Both readings of Figure B.3, which does not say whether the batch norm counts.

    Arrays ``squared_eigenvalues`` and ``folded_squared_eigenvalues``; per reading the number of
    largest values that hold 90% of the sum. A head without a matrix, as an encoder that was not
    trained has, has no spectrum: nothing is measured.
    """
    if not isinstance(head, nn.Sequential):
        return Measured()
    dense, norm = head
    assert isinstance(dense, nn.Linear)
    assert isinstance(norm, GroupBatchNorm)
    metrics, arrays = {}, {}
    for name, matrix in (("", dense.weight), ("folded_", folded(dense, norm))):
        values = squared_eigenvalues(matrix)
        arrays[f"{name}squared_eigenvalues"] = values
        reached = values.cumsum(dim=0) >= SHARE * values.sum()
        metrics[f"{name}values_for_90_percent"] = float(reached.int().argmax() + 1)
    return Measured(metrics, arrays)
