"""What evaluations do to images: whole ones resized as PIL does it, training ones cropped."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from simclr_lab.evaluation.descent import crop_and_flip
from simclr_lab.evaluation.resizing import FINETUNE_MARGIN, centred


def pictures(height: int, width: int) -> Tensor:
    """Noise with edges in it: what tells one resampling from another."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (3, 3, height, width), generator=draws, dtype=torch.uint8)
    x[:, :, height // 3 : height // 2, width // 4 :] = 250
    return x


def slow_centred(image: Tensor, size: int, side: int) -> Tensor:
    """PIL's bicubic of one image to a shorter side of ``side``, then the central square."""
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    scale = side / min(picture.size)
    width, height = (int(scale * length) for length in picture.size)
    resized = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
    top, left = round((height - size) / 2), round((width - size) / 2)
    cut = resized[top : top + size, left : left + size]
    return torch.from_numpy(cut.copy()).permute(2, 0, 1)


@pytest.mark.parametrize(
    ("height", "width", "size", "margin", "side"),
    [
        (48, 64, 32, 1.0, 32),
        (64, 48, 32, FINETUNE_MARGIN, 32),
        (20, 20, 40, 1.0, 40),
        (96, 96, 56, FINETUNE_MARGIN, 64),
        (90, 70, 56, FINETUNE_MARGIN, 64),
    ],
)
def test_whole_images_are_resized_as_pil_does(height, width, size, margin, side) -> None:
    images = pictures(height, width)
    found = centred(images, size, margin)
    assert found.dtype == torch.uint8
    for one, image in zip(found, images, strict=True):
        difference = (one.int() - slow_centred(image, size, side).int()).abs()
        assert int(difference.max()) <= 1


def test_training_images_are_cropped_and_half_of_them_mirrored() -> None:
    ramp = torch.linspace(0, 255, 32).to(torch.uint8).expand(2000, 3, 32, 32)
    views = crop_and_flip(ramp, torch.arange(2000), 0, purpose="any", size=24)
    assert views.shape == (2000, 3, 24, 24)
    left, right = views[:, 0, 12, 0], views[:, 0, 12, -1]
    assert float((left > right).double().mean()) == pytest.approx(0.5, abs=0.04)
    reach = (right - left).abs()  # a crop sees a part of the ramp
    assert float((reach < 0.8).double().mean()) > 0.6
    assert float(views.min()) >= 0
    assert float(views.max()) <= 1


def test_every_epoch_and_every_row_has_a_crop_of_its_own() -> None:
    images, rows = pictures(32, 32)[:1].expand(50, -1, -1, -1), torch.arange(50)
    first, again, later = (
        crop_and_flip(images, rows, epoch, purpose="any", size=16) for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not bool((first == later).flatten(1).all(dim=1).any())
    assert len(first.flatten(1).unique(dim=0)) == 50
