"""threshold, sigmoid_threshold: keep the weights whose scores exceed a threshold, however many those are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..selection import select_
from .base import MaskRule, check_option
from .imitation import halves

FLOOR = 0.005  # of a tensor's weights are kept at least: a layer that keeps none learns no more


@dataclass
class Threshold(MaskRule):
    """Keep where ``score > threshold``; gradient ``g * w`` (Mallya et al. 2018, arXiv 1801.06519, section 3).

    Where fewer than 0.5% of a tensor's scores exceed the threshold, the largest 0.5% are kept.
    """

    threshold: float = 0.0

    def __post_init__(self) -> None:
        check_option(math.isfinite(self.threshold), "threshold", self.threshold, "a finite number")

    def mask(self, scores: Tensor) -> Tensor:
        return above(scores, self.threshold)

    def project(self, inner: Tensor, energy: Tensor, bound: float) -> Tensor:
        return halves(inner, energy, bound) + self.threshold


@dataclass
class SigmoidThreshold(MaskRule):
    """Keep where ``sigmoid(score) > threshold``; gradient ``g * w * sigmoid'(score)``. The floor is ``threshold``'s."""

    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_option(0 < self.threshold < 1, "threshold", self.threshold, "between 0 and 1")

    @property
    def level(self) -> float:
        """The score at which the sigmoid is the threshold."""
        return math.log(self.threshold / (1 - self.threshold))

    def mask(self, scores: Tensor) -> Tensor:
        return above(scores, self.level)

    def project(self, inner: Tensor, energy: Tensor, bound: float) -> Tensor:
        return halves(inner, energy, bound) + self.level

    def score_gradient_(self, grad: Tensor, scores: Tensor) -> Tensor:
        return times_sigmoid_slope_(grad, scores)


def above(scores: Tensor, threshold: float) -> Tensor:
    """1 where ``scores > threshold``, else 0; and 1 at the largest scores where those are too few."""
    mask = torch.gt(scores, threshold, out=torch.empty_like(scores, requires_grad=False))
    fewest = math.ceil(FLOOR * scores.numel())
    if int(mask.count_nonzero()) < fewest:
        select_(mask, scores, fewest, magnitude=False)
    return mask


def times_sigmoid_slope_(grad: Tensor, scores: Tensor) -> Tensor:
    """``grad * sigmoid(scores) * (1 - sigmoid(scores))``, in place."""
    chance = torch.sigmoid(scores)
    return grad.mul_(chance).mul_(1 - chance)
