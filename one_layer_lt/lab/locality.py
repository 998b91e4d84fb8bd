"""Whether the pixels that a hidden unit keeps lie together: locality of masks on images.

    neighbours(mask, (28, 28)) / neighbours(shuffled(mask, "units", generator), (28, 28))      # above 1: local

Source: Pellegrini & Biroli 2021 (arXiv 2104.13343), section 3. Pruned networks also prefer some pixels, those in the
middle, which alone brings kept ones together. Hence two kinds of chance: see ``shuffled``.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHANCES = {"pixels": 1, "units": 0}
"""What is shuffled, and along which axis of a mask."""


def mean_distance(mask: Tensor, shape: tuple[int, int]) -> float:
    """The mean distance, in pixels, between two kept pixels of a unit: a mean over units that keep two or more.

    mask: bool, (units, height * width). shape: (height, width). Raises ``ValueError`` where no unit keeps two.
    """
    kept = mask.double()
    count = kept.sum(1)
    at = torch.cartesian_prod(*(torch.arange(side, dtype=torch.float64) for side in shape))
    pairs = (count * (count - 1))[count > 1]
    if not len(pairs):
        raise ValueError("no unit keeps two pixels: there is no distance to measure")
    return float(((kept @ torch.cdist(at, at) * kept).sum(1)[count > 1] / pairs).mean())


def neighbours(mask: Tensor, shape: tuple[int, int]) -> float:
    """How many kept pixels a kept pixel has beside, above and below it in its unit: a mean over all, from 0 to 4.

    mask: bool, (units, height * width). shape: (height, width). Raises ``ValueError`` where nothing is kept.
    """
    if not mask.any():
        raise ValueError("no pixel is kept: there are no neighbours to count")
    image = mask.view(-1, *shape)
    both = (image[:, 1:] & image[:, :-1]).sum() + (image[:, :, 1:] & image[:, :, :-1]).sum()
    return 2 * int(both) / int(mask.sum())


def shuffled(mask: Tensor, chance: str, generator: torch.Generator) -> Tensor:
    """A mask that is as local as chance has it: bool, (units, pixels), as the one given.

    chance: ``pixels``: each unit keeps as many as before, anywhere. ``units``: each pixel is kept by as many units as
    before, by any of them; so what all units have in common stays, and only what each has of its own goes.
    Raises ``ValueError`` for another.
    """
    if chance not in CHANCES:
        raise ValueError(f"chance {chance}: unknown; choose one of: {', '.join(CHANCES)}")
    axis = CHANCES[chance]
    return mask.gather(axis, torch.rand(mask.shape, generator=generator).argsort(axis))
