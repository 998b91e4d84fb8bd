"""iterand: random weights that no mask uses are drawn again from time to time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..weights import SharedWeight
from .base import Member, check_option
from .edge_popup import EdgePopup


@dataclass
class IteRand(EdgePopup):
    """``edge_popup``, and every ``period`` updates a ``fraction`` of the unused random weights is drawn again.

    Chijiwa et al. 2021 (arXiv 2106.09269, algorithm 1). A shared weight is unused where no mask of any layer uses it.
    The draws are a function of the seed, the random weight's name and the number of the draw, so that a ticket only
    says which draw each used weight is of.
    """

    fusable = False
    redraws = True
    period: int = 300
    fraction: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self.period >= 1, "period", self.period, "at least 1 update")
        check_option(0 < self.fraction <= 1, "fraction", self.fraction, "in (0, 1]")

    def combine_(self, mask: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
        return mask.mul_(weight).add_(0.0)  # makes -0 a 0: a dropped weight leaves no trace of which draw it was of

    def advance(self, members: Sequence[Member], update: int) -> None:
        number = update // self.period
        users: dict[SharedWeight, list[Member]] = {}
        for masked, scores in members:
            if masked.shared.draws < number:
                users.setdefault(masked.shared, []).append((masked, scores))
        for shared, using in users.items():
            used = torch.zeros_like(shared.weight, dtype=torch.bool)
            for masked, scores in using:
                used |= masked.mask(scores.detach()) != 0
            shared.redraw(number, ~used, self.fraction)
