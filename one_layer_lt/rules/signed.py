"""signed: a kept weight may also change its sign."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .base import Bools, check_option
from .imitation import gains, ranks
from .ranked import RankedRule
from .threshold import above


@dataclass
class Signed(RankedRule):
    """The sign of the score where its magnitude is in the top k, else 0; gradient ``g * w``.

    Koster et al. 2022 (arXiv 2201.13361), who keep by a threshold: with ``threshold`` a weight is kept where its
    score's magnitude exceeds it (and 0.5% of a tensor at least), and ``keep`` is without effect. A zero counts as the
    sign that it bears.
    """

    planes = 2
    magnitude = True
    threshold: Optional[float] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None:
            holds = math.isfinite(self.threshold) and self.threshold >= 0
            check_option(holds, "threshold", self.threshold, "at least 0")
            check_option(
                self.scope == "tensor" and not self.ramp, "threshold", self.threshold, "without scope and ramp"
            )

    def kept(self, n: int) -> int | None:
        return None if self.threshold is not None else super().kept(n)

    def selected(self, scores: Tensor, keep: float) -> Tensor:
        if self.threshold is not None:
            mask = above(scores.detach().abs(), self.threshold)
        else:
            mask = super().selected(scores, keep)
        return torch.where(torch.signbit(scores.detach()) & (mask != 0), -mask, mask)

    def project(self, inner: Tensor, energy: Tensor, bound: float) -> Tensor:
        """Magnitudes are those of the dense weights, in the order of what keeping each gains."""
        size = (inner / energy.sqrt().clamp(min=torch.finfo(energy.dtype).tiny)).abs()
        size *= bound / math.sqrt(3.0) / size.square().mean().sqrt().clamp(min=torch.finfo(size.dtype).tiny)

        def chosen(gain: Tensor) -> Tensor:
            return self.selected(size.flatten().sort().values[ranks(gain)], self.keep)

        gain = gains(inner.abs(), energy, chosen)
        return torch.copysign(size.flatten().sort().values[ranks(gain)], inner)

    def score_gradient_(self, grad: Tensor, scores: Tensor) -> Tensor:
        return grad

    def to_planes(self, mask: npt.NDArray) -> list[Bools]:
        return [mask != 0, mask[mask != 0] < 0]

    def from_planes(self, planes: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray:
        mask = planes[0].astype(np.int8)
        mask[mask != 0] -= 2 * planes[1].astype(np.int8)
        return mask
