"""Random changes to training images, a batch at a time, on its device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def augment(images: Tensor, *, flip: bool, padding: int, generator: torch.Generator) -> Tensor:
    """A changed copy of ``images`` (n, channels, height, width), of any dtype: the same shape, dtype and device.

    flip: mirror each image, left to right, with probability 1/2. padding: cut each image out of itself inside a border
        of so many zeros, at a place drawn uniformly for it (as for CIFAR in He et al. 2015, arXiv 1512.03385, section
        4.2; 0: not at all). generator: on any device; its state alone decides, wherever the images are.

    Raises ``ValueError`` for images of other than four dimensions and for a negative padding.
    """
    if images.dim() != 4:
        raise ValueError(f"images are of shape {tuple(images.shape)}: they must be (n, channels, height, width)")
    if padding < 0:
        raise ValueError(f"padding is {padding}: it must be 0 or more")

    def draw(highest: int) -> Tensor:
        drawn = torch.randint(highest + 1, (len(images),), generator=generator, device=generator.device)
        return drawn.to(images.device)

    if padding:
        changed = crop(images, padding, top=draw(2 * padding), left=draw(2 * padding))
    else:
        changed = images.clone()
    if flip:
        changed = torch.where(draw(1).bool().view(-1, 1, 1, 1), changed.flip(3), changed)
    return changed


def crop(images: Tensor, padding: int, *, top: Tensor, left: Tensor) -> Tensor:
    """Cut each image (n, channels, height, width) out of itself inside a border of ``padding`` zeros.

    top, left: int64, (n,), each from 0 to twice the padding: where its cut begins.
    """
    height, width = images.shape[2:]
    windows = F.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)  # a view: all cuts there are
    return windows[torch.arange(len(images), device=images.device), :, top, left]
