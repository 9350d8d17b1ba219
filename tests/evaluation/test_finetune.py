"""Fine-tuning against a plain loop; few labels help; the pretrained encoder stays as it was."""

import copy

import pytest
import torch
from torch import nn

from simclr_lab.contrastive.batch_norm import GroupBatchNorm
from simclr_lab.contrastive.draws import generator
from simclr_lab.evaluation.descent import Descent, crop_and_flip
from simclr_lab.evaluation.features import Frozen
from simclr_lab.evaluation.finetune import FinetuneSettings, fine_tuned, finetune
from simclr_lab.evaluation.labelled import LabelledImages, LabelledSplits


class Small(nn.Module):
    """A convolution and a norm over groups, as encoders have them."""

    def __init__(self, group_images: int | None = None) -> None:
        super().__init__()
        made = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, stride=2, bias=False)
        with torch.no_grad():
            self.conv.weight.normal_(0, 0.3, generator=made)
        self.norm = GroupBatchNorm(6, group_images=group_images)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu(self.norm(self.conv(x))).mean(dim=(2, 3))


def striped(n: int, seed: int) -> LabelledImages:
    """Three classes that differ by the direction of their stripes; mean colours tell nothing."""
    made = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    wave = (torch.arange(12) % 2 * 120).float()
    stripes = [wave.expand(12, 12), wave[:, None].expand(12, 12), torch.full((12, 12), 60.0)]
    pixels = torch.stack([stripes[int(y)] for y in labels])[:, None].expand(-1, 3, -1, -1)
    noise = torch.randint(0, 60, (n, 3, 12, 12), generator=made)
    return LabelledImages((pixels + noise).to(torch.uint8), labels)


SPLITS = LabelledSplits(striped(120, 0), striped(90, 1), striped(150, 2))
SETTINGS = FinetuneSettings(epochs=30, batch_size=30, learning_rate=2.0)


def digest(module: nn.Module) -> bytes:
    return b"".join(v.numpy().tobytes() for v in module.state_dict().values())


def test_it_learns_what_a_frozen_encoder_does_not_show_and_leaves_that_alone() -> None:
    frozen = Frozen(Small().train())
    before = digest(frozen.encoder)
    found = finetune(frozen, SPLITS.fit, SPLITS, SETTINGS)
    assert digest(frozen.encoder) == before
    assert frozen.encoder.training
    assert found.metrics["fit_images"] == 120
    assert found.metrics["test_top1"] > 90
    assert found.metrics["val_top5"] == 100
    hits = (found.arrays["test_predictions"] == SPLITS.test.labels).double().mean()
    assert 100 * float(hits) == found.metrics["test_top1"]
    brief = finetune(frozen, SPLITS.fit, SPLITS, FinetuneSettings(1, 120, 0.01))
    assert brief.metrics["test_top1"] < found.metrics["test_top1"] - 20


def test_the_same_numbers_at_every_call() -> None:
    short = FinetuneSettings(epochs=2, batch_size=30, learning_rate=2.0)
    torch.manual_seed(1)
    first = finetune(Frozen(Small()), SPLITS.fit, SPLITS, short)
    torch.manual_seed(2)
    assert finetune(Frozen(Small()), SPLITS.fit, SPLITS, short).metrics == first.metrics


def by_hand(encoder: nn.Module, data: LabelledImages, descent: Descent) -> list[torch.Tensor]:
    """The same training step by step: v = 0.9 v + g, then Nesterov's w -= rate (g + 0.9 v)."""
    network = nn.Sequential(copy.deepcopy(encoder), nn.Linear(6, 3)).train()
    nn.init.zeros_(network[1].weight)
    nn.init.zeros_(network[1].bias)
    weights = list(network.parameters())
    velocity = [torch.zeros_like(w) for w in weights]
    n, batch = len(data.images), descent.batch_size
    for step in range(descent.steps):
        epoch, place = divmod(step, n // batch)
        order = torch.randperm(n, generator=generator(0, "by hand", epoch))
        rows = order[place * batch : (place + 1) * batch]
        views = crop_and_flip(data.images, rows, epoch, purpose="by hand", size=12)
        loss = nn.functional.cross_entropy(network(views), data.labels[rows])
        cosine = torch.cos(torch.tensor(torch.pi * step / descent.steps, dtype=torch.float64))
        falling = 0.5 * (1 + float(cosine)) if descent.schedule == "cosine" else 1.0
        rate = descent.learning_rate * falling
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, v, g in zip(weights, velocity, gradients, strict=True):
                g = g + descent.weight_decay * w
                v.mul_(0.9).add_(g)
                w.sub_(rate * (g + 0.9 * v))
    return weights


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_it_equals_its_loop(decay: float, schedule) -> None:
    descent = Descent(7, 40, learning_rate=0.2, weight_decay=decay, schedule=schedule)
    tuned = fine_tuned(Frozen(Small()), SPLITS.fit, classes=3, descent=descent, purpose="by hand")
    found = [*tuned.encoder.parameters(), *tuned.head.parameters()]
    for one, other in zip(found, by_hand(Small(), SPLITS.fit, descent), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_norms_over_pairs_become_norms_over_images() -> None:
    """A recipe's groups hold pairs of views; a labelled batch of any size has none."""
    descent = Descent(steps=3, batch_size=15, learning_rate=0.1)
    tuned = fine_tuned(
        Frozen(Small(group_images=4)),
        SPLITS.fit,
        classes=3,
        descent=descent,
        purpose="groups",
        batch_norm_momentum=0.03,
    )
    assert tuned.encoder.norm.group_images is None
    assert tuned.encoder.norm.momentum == 0.03


def test_in_half_precision_and_in_double() -> None:
    few = FinetuneSettings(epochs=3, batch_size=30, learning_rate=0.5)
    plain = finetune(Frozen(Small()), SPLITS.fit, SPLITS, few).metrics["val_top1"]
    for precision in ("bfloat16", "float64"):
        encoder = Small().double() if precision == "float64" else Small()
        frozen = Frozen(encoder, precision=precision, channels_last=True)
        assert finetune(frozen, SPLITS.fit, SPLITS, few).metrics["val_top1"] == pytest.approx(
            plain, abs=12
        )
