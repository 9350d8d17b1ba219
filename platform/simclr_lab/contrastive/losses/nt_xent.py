"""NT-Xent, the normalised temperature-scaled cross entropy (Eq. 1, Algorithm 1).

n: local images, p: width of z, m: images of all workers.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from simclr_lab.contrastive.gather import all_gather, rank
from simclr_lab.contrastive.losses.pairs import Negatives, in_full, prepared


def nt_xent(
    z_a: Float[Tensor, "n p"],
    z_b: Float[Tensor, "n p"],
    *,
    temperature: float,
    normalize: bool = True,
    negatives: Negatives = "both_views",
) -> Float[Tensor, ""]:
    """The paper's L: the mean of Eq. 1 over both ordered positive pairs of every local image.

    Row i of ``z_a`` and ``z_b`` comes from image i. Inside a process group the rows are this
    worker's and the candidates are everybody's; the mean of the workers' values is the value of the
    global batch, and so is the gradient after averaging over workers.

    Args:
        z_a: projections of the first views.
        z_b: projections of the second views.
        temperature: divides the similarities.
        normalize: l2-normalise rows first (cosine similarity); otherwise dot products.
        negatives: ``both_views`` is Eq. 1 with 2(m - 1) negatives; ``one_view`` takes the m - 1 of
            the other view only (Table 4).

    Raises ValueError for a temperature that is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; allowed: greater than 0")
    own = torch.arange(len(z_a), device=z_a.device) + rank() * len(z_a)

    def one_direction(anchor: Tensor, other: Tensor, same: Tensor) -> Tensor:
        logits = anchor @ other.T / temperature
        if negatives == "both_views":
            same_view = anchor @ same.T / temperature
            is_self = own[:, None] == torch.arange(len(same), device=own.device)
            logits = torch.cat([logits, same_view.masked_fill(is_self, -torch.inf)], dim=1)
        return functional.cross_entropy(logits, own)

    with in_full(z_a):
        a, b = (prepared(z, normalize) for z in (z_a, z_b))
        all_a, all_b = all_gather(a), all_gather(b)
        return (one_direction(a, all_b, all_a) + one_direction(b, all_a, all_b)) / 2
