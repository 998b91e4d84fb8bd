"""biprop: kept weights are all of one magnitude, and only their signs are random."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .ranked import RankedRule


@dataclass
class BiProp(RankedRule):
    """``alpha * sign(w)`` at the top k of |score|, alpha being the mean magnitude of the kept random weights.

    Multi-prize tickets (Diffenderfer & Kailkhura 2021, arXiv 2103.09377, algorithm 1). The gradient passes straight
    through: the mask, in their code of values 0 and alpha, gets ``g * |w|`` of its own gradient g, which with the sign
    of the weight and that of the score makes ``edge_popup``'s ``g * w * sign(score)``.
    """

    magnitude = True

    def scale(self, mask: Tensor, weight: Tensor) -> Tensor:
        kept = mask.to(torch.float32)
        return (kept * weight.abs()).sum() / kept.sum().clamp(min=1)

    def combine_(self, mask: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
        value = torch.copysign(mask, weight.to(mask.dtype))
        return value if scale is None else value.mul_(scale.to(value))
