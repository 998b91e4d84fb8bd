"""multicoat: a weight may be kept several times over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..selection import kept_count, select_
from .base import Bools, MaskRule, check_option
from .imitation import evenly, gains
from .ranked import times_sign_

MOST_COATS = 16


@dataclass
class MultiCoat(MaskRule):
    """The sum of nested masks, the i-th being the top ``coats[i]`` of |score|; gradient ``g * w * sign(score)``.

    Okoshi et al. 2022 (ICML, proceedings.mlr.press/v162/okoshi22a, section 3).

    coats: the fractions kept, from the largest to the smallest.
    """

    coats: tuple[float, ...] = (0.3, 0.0788, 0.0315)

    def __post_init__(self) -> None:
        ordered = all(first > second for first, second in zip(self.coats, self.coats[1:]))
        fractions = 1 <= len(self.coats) <= MOST_COATS and all(0 < coat <= 1 for coat in self.coats)
        must = f"1 to {MOST_COATS} fractions in (0, 1], each smaller than the one before"
        check_option(ordered and fractions, "coats", self.coats, must)

    @property
    def planes(self) -> int:  # type: ignore[override]
        return len(self.coats)

    def kept(self, n: int) -> int:
        return kept_count(self.coats[0], n)

    def mask(self, scores: Tensor) -> Tensor:
        total = torch.zeros_like(scores, requires_grad=False)
        coat = torch.empty_like(total)
        for fraction in self.coats:
            total += select_(coat, scores, kept_count(fraction, scores.numel()), magnitude=True)
        return total

    def project(self, inner: Tensor, energy: Tensor, bound: float) -> Tensor:
        def coats(gain: Tensor) -> Tensor:
            return self.mask(evenly(gain, 0.0, bound))

        # The order in which to keep weights once, which is the best nesting over weights of one magnitude.
        return evenly(gains(inner, energy, coats), 0.0, bound)

    def score_gradient_(self, grad: Tensor, scores: Tensor) -> Tensor:
        return times_sign_(grad, scores)

    def to_planes(self, mask: npt.NDArray) -> list[Bools]:
        planes = [mask >= 1]
        for level in range(2, len(self.coats) + 1):
            planes.append(mask[mask >= level - 1] >= level)
        return planes

    def from_planes(self, planes: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray:
        mask = planes[0].astype(np.int8)
        inside = np.flatnonzero(mask)
        for plane in planes[1:]:
            inside = inside[plane.astype(bool)]
            mask[inside] += 1
        return mask
