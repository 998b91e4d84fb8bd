"""Mirrored and shifted images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from one_layer_lt.vision.data import augment
from one_layer_lt.vision.data.augmentation import crop
from tests.support.pictures import seeded


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_augmented_images_keep_shape_and_type(dtype: torch.dtype) -> None:
    images = torch.randint(1, 256, (5, 3, 4, 6), generator=seeded(0)).to(dtype)
    before = images.clone()
    for flip, padding in ((False, 0), (True, 0), (False, 2), (True, 2), (True, 9)):
        changed = augment(images, flip=flip, padding=padding, generator=seeded(1))
        assert (changed.shape, changed.dtype) == (images.shape, dtype)
        assert changed.data_ptr() != images.data_ptr()
        assert torch.equal(images, before)
        assert torch.equal(changed, augment(images, flip=flip, padding=padding, generator=seeded(1)))
    assert torch.equal(augment(images, flip=False, padding=0, generator=seeded(1)), images)
    assert augment(images[:0], flip=True, padding=2, generator=seeded(1)).shape == (0, 3, 4, 6)


def test_flips_are_of_half_the_images_and_undo_themselves() -> None:
    images = torch.arange(6, dtype=torch.uint8).view(1, 1, 2, 3).expand(1000, 1, 2, 3)
    once = augment(images, flip=True, padding=0, generator=seeded(2))
    mirrored = (once == torch.tensor([[[2, 1, 0], [5, 4, 3]]])).flatten(1).all(1)
    same = (once == images).flatten(1).all(1)
    assert bool((mirrored ^ same).all())
    assert 420 < int(mirrored.sum()) < 580
    assert torch.equal(augment(once, flip=True, padding=0, generator=seeded(2)), images)


@pytest.mark.parametrize("padding", [1, 2, 3])
def test_a_crop_is_a_slice_of_the_padded_image_for_every_offset(padding: int) -> None:
    height, width, steps = 3, 4, 2 * padding + 1
    count = steps * steps
    images = torch.randint(0, 256, (count, 2, height, width), generator=seeded(3)).to(torch.uint8)
    top, left = torch.arange(count) // steps, torch.arange(count) % steps
    cut = crop(images, padding, top=top, left=left)
    for i in range(count):
        bordered = np.pad(images[i].numpy(), ((0, 0), (padding,) * 2, (padding,) * 2))
        y, x = i // steps, i % steps
        assert cut[i].tolist() == bordered[:, y : y + height, x : x + width].tolist()


def test_every_offset_is_drawn_an_image_at_a_time() -> None:
    image = torch.arange(1, 5, dtype=torch.uint8).view(1, 1, 2, 2)
    offsets = torch.tensor([(y, x) for y in range(3) for x in range(3)])
    possible = crop(image.expand(9, 1, 2, 2), 1, top=offsets[:, 0], left=offsets[:, 1]).flatten(1)
    drawn = augment(image.expand(900, 1, 2, 2), flip=False, padding=1, generator=seeded(4)).flatten(1)
    which = (drawn[:, None] == possible).all(2)
    assert which.sum(1).tolist() == [1] * 900
    assert int(which.sum(0).min()) > 60


def test_augment_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="padding is -1"):
        augment(torch.zeros(1, 1, 2, 2), flip=False, padding=-1, generator=seeded(0))
    with pytest.raises(ValueError, match=r"of shape \(2, 2\)"):
        augment(torch.zeros(2, 2), flip=True, padding=0, generator=seeded(0))
