"""What the closed forms of ``MaskRule.project`` have in common."""

from __future__ import annotations

from typing import Callable

import torch
from torch import Tensor

_ROUNDS = 50  # the error falls with each; a few are enough


def gains(inner: Tensor, energy: Tensor, select: Callable[[Tensor], Tensor]) -> Tensor:
    """What keeping each weight takes off the squared error of the best multiple of the effective weight.

    With factor s that is ``2 s inner - s^2 energy``, here over s: float32, of the shape of ``inner``. s is the least
    squares one of the weights that ``select`` (gains -> mask) keeps: mask and s are fitted in turn until neither
    changes. Over random weights of one magnitude the order is that of ``inner`` whatever s is.
    """
    gain, mask = inner, None
    for _ in range(_ROUNDS):
        before, mask = mask, select(gain) != 0
        if before is not None and torch.equal(before, mask):
            break
        kept = energy[mask].sum()
        factor = inner[mask].sum() / kept if kept > 0 else inner.new_zeros(())
        gain = 2 * inner - factor.clamp(min=0) * energy
    return gain


def positive(gain: Tensor) -> Tensor:
    """A mask of all weights that gain."""
    return gain > 0


def ranks(values: Tensor) -> Tensor:
    """Of each value how many are smaller, of equal ones those of higher index: int64, of the shape of ``values``."""
    order = torch.argsort(values.flatten(), descending=True, stable=True)
    found = torch.empty_like(order)
    found[order] = torch.arange(order.numel() - 1, -1, -1, device=order.device)
    return found.view(values.shape)


def evenly(values: Tensor, low: float, high: float) -> Tensor:
    """Numbers in the order of ``values``, spread evenly over (low, high): float32."""
    return low + (high - low) * ((ranks(values) + 0.5) / max(values.numel(), 1))


def halves(gain: Tensor, bound: float) -> Tensor:
    """Numbers in the order of ``gain`` and of its sign, spread evenly over (-bound, 0) and (0, bound)."""
    scores, keep = torch.empty_like(gain), positive(gain)
    scores[keep] = evenly(gain[keep], 0.0, bound)
    scores[~keep] = evenly(gain[~keep], -bound, 0.0)
    return scores
