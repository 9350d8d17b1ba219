"""The model of Sec. 2.1: encoder f and projection head g."""

from jaxtyping import Float
from torch import Tensor, nn


class SimCLR(nn.Module):
    """x -> (h, z): representation h = f(x), projection z = g(h)."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(
        self, views: Float[Tensor, "m c height width"]
    ) -> tuple[Float[Tensor, "m d"], Float[Tensor, "m p"]]:
        """Both views of n images in one batch of m = 2n rows, so that batch norm mixes them."""
        h = self.encoder(views)
        return h, self.head(h)
