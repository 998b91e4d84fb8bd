"""continuous: a mask between 0 and 1 that hardens in training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .annealed import Annealed

_SPREAD = 0.5  # of the scores to start from: masks from 0.38 to 0.62


@dataclass
class Continuous(Annealed):
    """m = sigmoid(score / T) in training, T falling on a schedule, and evaluated at T = 0: 1 where score >= 0.

    Continuous sparsification (Savarese et al. 2020, arXiv 1912.04427, section 3.2). The gradient
    ``g * w * sigmoid'(score / T) / T`` is that of the mask itself, not one through a step. What evaluation sees is the
    network of training only once T is near ``last``: ``over`` should be the length of training.

    Scores start uniform within 0.5, so that learning rates are ten to twenty times those of other rules.
    """

    last: float = 0.005

    def start(self, scores: Tensor, bound: float) -> Tensor:
        return scores.mul_(_SPREAD / bound)

    def training_mask(self, scores: Tensor) -> Tensor:
        return torch.sigmoid(scores / self.temperature)
