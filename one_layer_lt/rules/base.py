"""What every mask rule offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Optional

import numpy as np
import numpy.typing as npt
from torch import Tensor


class MaskRule(ABC):
    """Scores -> mask, and scores and random weight -> effective weight with a gradient for the scores.

    ``planes``: how many bits a weight its masks take in a ticket.
    """

    planes = 1

    def __init__(self, keep: float) -> None:
        self.keep = keep

    @abstractmethod
    def mask(self, scores: Tensor) -> Tensor:
        """The mask: shape, dtype and device of ``scores``; no gradient."""

    @abstractmethod
    def effective_weight(self, scores: Tensor, weight: Tensor) -> Tensor:
        """``mask(scores) * weight``, in the dtype of ``scores``; differentiable in ``scores`` alone."""

    def kept(self, n: int) -> Optional[int]:
        """How many of ``n`` weights a mask keeps, where the rule promises a number."""
        return None

    def to_planes(self, mask: npt.NDArray) -> list[npt.NDArray[np.bool_]]:
        """A flat mask as ``planes`` bits a weight; the first says which weights are kept."""
        return [mask != 0]

    def from_planes(self, planes: list[npt.NDArray[np.uint8]]) -> npt.NDArray:
        """The mask's values again, from zeros and ones."""
        return planes[0]
