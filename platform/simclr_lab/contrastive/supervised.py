"""The supervised baseline: the same encoder and views, a linear classifier on h (Table 1, Fig. 7).

n: local images, k: classes.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional


def classifier(in_dim: int, classes: int) -> nn.Linear:
    """A linear layer that starts from zero, as the official code's supervised head."""
    layer = nn.Linear(in_dim, classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def cross_entropy(
    z_a: Float[Tensor, "n k"], z_b: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Mean over both views of every image; here z holds a classifier's logits."""
    logits = torch.cat([z_a, z_b])
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return functional.cross_entropy(logits, torch.cat([labels, labels]))


def views_top1(
    z_a: Float[Tensor, "n k"], z_b: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Percent of views whose largest logit is their label's."""
    hits = torch.cat([z_a, z_b]).argmax(dim=1) == torch.cat([labels, labels])
    return 100 * hits.double().mean()
