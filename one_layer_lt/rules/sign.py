"""sign: every weight is kept, and a score says which sign it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .base import Bools, MaskRule


@dataclass
class Sign(MaskRule):
    """m = sign(score), in {-1, +1}: nothing is dropped; gradient ``g * w``. A zero counts as the sign that it bears.

    Learning only the signs of fixed magnitudes: Ivan & Florian 2020 (arXiv 2006.16627); that the signs are what
    matters in a lottery ticket: Zhou et al. 2019 (arXiv 1905.01067, section 4.1). Over constants of random sign (init
    ``signed_constant``) any pattern of signs can be written: the network is then a binary one, and its seed only flips
    bits. Over uniform or normal weights the magnitudes stay random.

    Random weights are drawn at 1/sqrt(2) of their usual size, for effective weights to vary as much as under a 0/1 mask
    that keeps half.
    """

    weight_scale: ClassVar[float] = math.sqrt(0.5)

    def mask(self, scores: Tensor) -> Tensor:
        return torch.copysign(torch.ones_like(scores, requires_grad=False), scores)

    def kept(self, n: int) -> int:
        return n

    def project(self, inner: Tensor, energy: Tensor, bound: float) -> Tensor:
        scores = inner / energy.sqrt().clamp(min=torch.finfo(energy.dtype).tiny)  # dense weight times sign of random
        spread = scores.square().mean().sqrt().clamp(min=torch.finfo(scores.dtype).tiny)
        return scores * (bound / math.sqrt(3.0) / spread)

    def to_planes(self, mask: npt.NDArray) -> list[Bools]:
        return [mask > 0]

    def from_planes(self, planes: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray:
        return 2 * planes[0].astype(np.int8) - 1

    def count_kept(self, ones: int, n: int) -> int:
        return n
