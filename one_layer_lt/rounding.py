"""Weights rounded to a few bits: the small dense models that masks over random weights are measured against.

    round_weights_(model, bits=2)   # each weight is rounded as it is used; train the weights behind
    fold_rounded_(model)            # plain dense weights, rounded

Each row of a matrix becomes whole numbers from -(2^(bits-1) - 1) to 2^(bits-1) - 1, times a float16 scale of its own:
two bits are the three values -1, 0 and 1. The gradient passes straight through the rounding.

Sources: straight-through gradients: Bengio et al. 2013 (arXiv 1308.3432); training through the rounding: Jacob et al.
2018 (arXiv 1712.05877); three values: Li & Liu 2016 (arXiv 1605.04711); Gaussian steps: Max 1960.
"""

from __future__ import annotations

from typing import Any, Callable

import torch
from torch import Tensor, nn

from .trained import fold_parametrized_, parametrize_

BITS = range(2, 9)
# Of the mean magnitude: the step that rounds Gaussian weights with the least squared error.
STEPS = {2: 1.53407, 3: 0.81562, 4: 0.44293, 5: 0.24220, 6: 0.13221, 7: 0.071767, 8: 0.038690}
# Of the scale at which the largest value of a row is the largest number.
RATIOS = tuple(0.1 ** (i / 31) for i in range(32))

ScaleOf = Callable[[Tensor, int], Tensor]


def largest(bits: int) -> int:
    """The largest whole number of so many bits, of which one is the sign."""
    return 2 ** (bits - 1) - 1


def best_scale(weight: Tensor, bits: int) -> Tensor:
    """The scale of each row, of ``RATIOS``, that rounds it with the least squared error.

    weight: (rows, columns), floating. Returns (rows, 1) float16.
    """
    weight = weight.float()
    widest = weight.abs().amax(1, keepdim=True) / largest(bits)
    scales = torch.stack([_float16(widest * ratio) for ratio in RATIOS])
    errors = [(_numbers(weight, scale, bits) * scale - weight).square_().sum(1, keepdim=True) for scale in scales]
    return scales.gather(0, torch.stack(errors).argmin(0, keepdim=True)).squeeze(0)


def mean_scale(weight: Tensor, bits: int) -> Tensor:
    """The scale of each row by its mean magnitude: the best of Gaussian weights, and fast enough for training.

    weight: (rows, columns), floating. Returns (rows, 1) float16.
    """
    # In float64, for the order of a sum differs between machines: in float32 it would show.
    return _float16(STEPS[bits] * weight.abs().mean(1, keepdim=True, dtype=torch.float64))


def integers(weight: Tensor, bits: int, scale_of: ScaleOf = best_scale) -> tuple[Tensor, Tensor]:
    """Whole numbers, int8 of the matrix's shape (rows, columns), and each row's scale, (rows, 1) float16."""
    scale = scale_of(weight, bits)
    return _numbers(weight.float(), scale, bits).to(torch.int8), scale


def rounded(weight: Tensor, bits: int, scale_of: ScaleOf = best_scale) -> Tensor:
    """A matrix with each row rounded to whole numbers times its scale: a new tensor of its shape and dtype."""
    numbers, scale = integers(weight, bits, scale_of)
    return (numbers * scale.float()).to(weight.dtype)


class RoundedWeight(nn.Module):
    """weight -> weight rounded to ``bits`` bits, by ``mean_scale``, for one tensor (tied modules use one instance)."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        found: Tensor = _Rounding.apply(weight, self.bits)
        return found

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


class _Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bits: int) -> Tensor:
        return rounded(weight.flatten(1), bits, mean_scale).view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def round_weights_(model: nn.Module, bits: int) -> nn.Module:
    """Round the weight of every ``nn.Linear``, ``nn.Embedding`` and ``nn.Conv2d`` as it is used, in place.

    The weights that are trained are ``parametrizations.weight.original`` then, the same parameters as before. Modules
    whose weights are tied stay tied. Returns ``model``.

    Raises ``ValueError``, before anything has changed, where ``bits`` are not in ``BITS``, and as ``parametrize_``.
    """
    if bits not in BITS:
        raise ValueError(f"bits must be a whole number from {BITS[0]} to {BITS[-1]}, not {bits}")
    return parametrize_(model, lambda weight: RoundedWeight(bits))


def fold_rounded_(model: nn.Module) -> nn.Module:
    """Replace weights that are rounded as they are used by plain dense, rounded ones, in place; return ``model``.

    Ties are kept. A model without such weights is returned as it is.
    """
    return fold_parametrized_(model, RoundedWeight)


def _numbers(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    most = largest(bits)
    return (weight / scale.float()).round_().clamp_(-most, most)


def _float16(scale: Tensor) -> Tensor:
    return scale.clamp(torch.finfo(torch.float16).smallest_normal, torch.finfo(torch.float16).max).half()
