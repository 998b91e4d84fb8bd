"""annealed: a hard mask whose gradient goes through a sigmoid that grows steeper."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import MaskRule, check_option
from .imitation import halves
from .schedules import check_schedule, scheduled
from .threshold import times_sigmoid_slope_


@dataclass
class Annealed(MaskRule):
    """m = 1 where sigmoid(score / T) >= 1/2; gradient ``g * w * sigmoid'(score / T) / T``, T falling on a schedule.

    The steepening sigmoid is that of continuous sparsification (Savarese et al. 2020, arXiv 1912.04427, section 3.2),
    here with a hard mask in the forward pass.

    first, last: T at update 0, and from update ``over`` on. schedule: ``exponential``, ``linear`` or ``cosine``.
    """

    first: float = 1.0
    last: float = 0.02
    over: int = 2000
    schedule: str = "exponential"

    def __post_init__(self) -> None:
        check_option(self.first > 0, "first", self.first, "a positive temperature")
        check_option(0 < self.last <= self.first, "last", self.last, f"a temperature in (0, {self.first}]")
        check_option(self.over >= 0, "over", self.over, "at least 0 updates")
        check_schedule(self.schedule)

    @property
    def temperature(self) -> float:
        """T at this update."""
        return scheduled(self.schedule, self.first, self.last, self.context.update, self.over)

    @property
    def is_scheduled(self) -> bool:
        return self.over > 0

    def mask(self, scores: Tensor) -> Tensor:
        return torch.ge(scores, 0, out=torch.empty_like(scores, requires_grad=False))

    def project(self, inner: Tensor, energy: Tensor, bound: float) -> Tensor:
        return self.start(halves(inner, energy, bound), bound)

    def score_gradient_(self, grad: Tensor, scores: Tensor) -> Tensor:
        temperature = self.temperature
        return times_sigmoid_slope_(grad, scores / temperature).div_(temperature)
