"""continuous: masks between 0 and 1 that sharpen, then masks of 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .annealed import Annealed

_SPREAD = 0.5  # of the scores to start from: masks from 0.38 to 0.62


@dataclass
class Continuous(Annealed):
    """m = sigmoid(score / T) while T falls; from update ``over`` on, as in evaluation, 1 where score >= 0.

    First continuous sparsification (Savarese et al. 2020, arXiv 1912.04427, section 3.2): the gradient
    ``g * w * sigmoid'(score / T) / T`` is that of the mask itself, and the search fast. Then ``annealed`` at
    T = ``last``, which wins back a part of what rounding lost. ``over`` should be three quarters of training.

    Scores start uniform within 0.5, so that learning rates are ten to twenty times those of other rules.
    """

    last: float = 0.1

    def start(self, scores: Tensor, bound: float) -> Tensor:
        return scores.mul_(_SPREAD / bound)

    def training_mask(self, scores: Tensor) -> Tensor:
        if self.context.update >= self.over:
            return self.mask(scores)
        return torch.sigmoid(scores / self.temperature)
