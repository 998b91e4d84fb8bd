"""What every mask rule offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class MaskRule(ABC):
    """Scores -> mask, and scores and random weight -> effective weight with a gradient for the scores."""

    def __init__(self, keep: float) -> None:
        self.keep = keep

    @abstractmethod
    def mask(self, scores: Tensor) -> Tensor:
        """The mask: shape, dtype and device of ``scores``; no gradient."""

    @abstractmethod
    def effective_weight(self, scores: Tensor, weight: Tensor) -> Tensor:
        """``mask(scores) * weight``, in the dtype of ``scores``; differentiable in ``scores`` alone."""
