"""What a batch of projections or representations looks like (spec 2.4; Wang and Isola 2020).

n: local images, m: images of all workers, p: width.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from simclr_lab.contrastive.gather import all_gather, rank
from simclr_lab.contrastive.losses.pairs import in_full, prepared


def _logits_ab(z_a: Tensor, z_b: Tensor, temperature: float, normalize: bool) -> Tensor:
    """First views as anchors against everybody's second views; the official code's logits_ab."""
    with in_full(z_a):
        z_a, z_b = prepared(z_a, normalize), prepared(z_b, normalize)
        return z_a @ all_gather(z_b).T / temperature


def contrastive_accuracy(
    z_a: Float[Tensor, "n p"],
    z_b: Float[Tensor, "n p"],
    *,
    temperature: float,
    normalize: bool = True,
) -> Float[Tensor, ""]:
    """Share of local images whose second view is the nearest of all m second views (Table 5)."""
    logits = _logits_ab(z_a, z_b, temperature, normalize)
    own = torch.arange(len(z_a), device=z_a.device) + rank() * len(z_a)
    return (logits.argmax(dim=1) == own).to(logits.dtype).mean()


def contrastive_entropy(
    z_a: Float[Tensor, "n p"],
    z_b: Float[Tensor, "n p"],
    *,
    temperature: float,
    normalize: bool = True,
) -> Float[Tensor, ""]:
    """Mean entropy in nats of the distribution over the m second views (Table 5); up to ln m."""
    p = _logits_ab(z_a, z_b, temperature, normalize).softmax(dim=1)
    return -(p * (p + 1e-8).log()).sum(dim=1).mean()


def alignment(z_a: Float[Tensor, "n p"], z_b: Float[Tensor, "n p"]) -> Float[Tensor, ""]:
    """Mean squared distance of the two views on the unit sphere; 0 is perfect."""
    z_a, z_b = functional.normalize(z_a, dim=1), functional.normalize(z_b, dim=1)
    return (z_a - z_b).square().sum(dim=1).mean()


def uniformity(z: Float[Tensor, "n p"]) -> Float[Tensor, ""]:
    """Log of the mean Gaussian potential of all pairs on the unit sphere; lower is more even."""
    distances = torch.pdist(functional.normalize(z, dim=1)).square()
    return (-2 * distances).exp().mean().log()


def effective_rank(h: Float[Tensor, "n p"]) -> Float[Tensor, ""]:
    """Exponential of the entropy of the normalised singular values of the centred rows."""
    singular = torch.linalg.svdvals(h - h.mean(dim=0))
    share = singular / singular.sum().clamp(min=torch.finfo(h.dtype).tiny)
    entropy: Tensor = torch.special.entr(share).sum()
    return entropy.exp()


def feature_std(h: Float[Tensor, "n p"]) -> Float[Tensor, ""]:
    """Mean over coordinates of the standard deviation of unit-length rows; 1/sqrt(p) if even."""
    return functional.normalize(h, dim=1).std(dim=0, correction=0).mean()
