"""Activations computed again in the backward, where batch norm needs the whole batch at once.

Micro-batches cut a batch; norms over all of it cannot be cut. Keeping only a block's input and
running the block once more saves the memory instead (Chen et al. 2016). Batch norm's running
statistics would move at both runs: the second one leaves them alone.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from simclr_lab.contrastive.batch_norm import frozen_statistics


def recomputed(run: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> Tensor:
    """``run(x)``, whose inner results are forgotten and computed again when the backward asks.

    Args:
        run: a function without random draws of its own.
        module: holds the batch norms that ``run`` uses.
        x: what goes in; it is kept.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), frozen_statistics(module)

    y: Tensor = checkpoint(
        run, x, use_reentrant=False, context_fn=contexts, preserve_rng_state=False
    )
    return y
