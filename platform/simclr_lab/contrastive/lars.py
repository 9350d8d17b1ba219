"""LARS as in the official code (You et al. 2017; Sec. 2.2, spec 6.1)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling.

    For each tensor, with gradient g already holding ``weight_decay * w``:
    trust = trust_coefficient * |w| / |g| (1 where a norm is zero);
    classic momentum: v = momentum * v + lr * trust * g; w -= v (the rate is inside the buffer).
    Popular momentum: v = momentum * v + g; trust from |w| / |update|; w -= lr * trust * update.

    A group with ``adapt`` False (norms, biases) has trust 1 and no weight decay.
    """

    def __init__(
        self,
        param_groups: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        nesterov: bool = False,
        classic_momentum: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "nesterov": nesterov,
            "classic_momentum": classic_momentum,
            "adapt": True,
        }
        super().__init__(param_groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        gradient = weight.grad
        assert gradient is not None
        if group["adapt"] and group["weight_decay"]:
            gradient = gradient.add(weight, alpha=group["weight_decay"])
        state = self.state[weight]
        buffer: Tensor = state.setdefault("momentum_buffer", torch.zeros_like(weight))
        momentum, rate = group["momentum"], group["lr"]
        if group["classic_momentum"]:
            step = gradient * (self._trust(weight, gradient, group) * rate)
            buffer.mul_(momentum).add_(step)
            weight.sub_(buffer.mul(momentum).add_(step) if group["nesterov"] else buffer)
        else:
            buffer.mul_(momentum).add_(gradient)
            update = buffer.mul(momentum).add_(gradient) if group["nesterov"] else buffer
            weight.sub_(update * (self._trust(weight, update, group) * rate))

    @staticmethod
    def _trust(weight: Tensor, update: Tensor, group: dict[str, Any]) -> Tensor:
        one = weight.new_ones(())
        if not group["adapt"]:
            return one
        w, u = weight.norm(), update.norm()
        ratio = group["trust_coefficient"] * w / u
        return torch.where((w > 0) & (u > 0), ratio, one)
