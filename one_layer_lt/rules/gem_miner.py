"""gem_miner: scores in [0, 1], rounded; the lowest of all tensors are given up for good, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..selection import as_one, kept_count, select_
from .base import MaskRule, Member, check_option
from .imitation import halves
from .schedules import scheduled

_FROZEN = -1.0  # a score that was given up; scores in use are in [0, 1]


@dataclass
class GemMiner(MaskRule):
    """m = 1 where the score, clipped to [0, 1], rounds to 1; gradient ``g * w``.

    Sreenivasan et al. 2022 ("Rare Gems", arXiv 2202.12002, algorithm 1). Every ``period`` updates up to ``over`` the
    lowest scores of all tensors together are frozen off, so that the share of the others falls geometrically from 1 to
    ``keep``; a mask may keep fewer, as rounding also drops. At a score of exactly 1/2 it keeps.

    l2: how much scores shrink at each update, as a fraction. The paper adds an L2 penalty to the loss; here it acts on
        the scores themselves, for a criterion may be a mean or, as fairseq's, a sum.
    """

    keep: float = 0.5
    period: int = 100
    over: int = 1000
    l2: float = 1e-5

    def __post_init__(self) -> None:
        check_option(self.period >= 1, "period", self.period, "at least 1 update")
        check_option(self.over >= self.period, "over", self.over, f"at least the period of {self.period} updates")
        check_option(0 <= self.l2 < 1, "l2", self.l2, "in [0, 1)")

    def start(self, scores: Tensor, bound: float) -> Tensor:
        return scores.mul_(0.5 / bound).add_(0.5).clamp_(0, 1)

    def mask(self, scores: Tensor) -> Tensor:
        return torch.ge(scores, 0.5, out=torch.empty_like(scores, requires_grad=False))

    def project(self, inner: Tensor, energy: Tensor, bound: float) -> Tensor:
        return self.start(halves(inner, energy, bound), bound)

    def score_gradient_(self, grad: Tensor, scores: Tensor) -> Tensor:
        return grad.masked_fill_(_frozen(scores), 0)

    @torch.no_grad()
    def advance(self, members: Sequence[Member], update: int) -> None:
        for _, scores in members:
            frozen = _frozen(scores)
            if update:
                scores.mul_(1 - self.l2)
            scores.clamp_(0, 1).masked_fill_(frozen, _FROZEN)
        if update and update % self.period == 0:
            step = min(update, self.over - self.over % self.period)
            self._freeze([scores for _, scores in members], step)

    def _freeze(self, scores: Sequence[Tensor], update: int) -> None:
        last = self.over - self.over % self.period
        ratio = scheduled("exponential", 1.0, self.keep, update, last)

        def alive(flat: Tensor) -> Tensor:
            return select_(torch.empty_like(flat), flat, kept_count(ratio, flat.numel()), magnitude=False)

        for tensor, kept in zip(scores, as_one(scores, alive)):
            tensor.masked_fill_(kept == 0, _FROZEN)


def _frozen(scores: Tensor) -> Tensor:
    return scores.detach() < _FROZEN / 2
