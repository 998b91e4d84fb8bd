"""What the closed forms of ``MaskRule.project`` have in common."""

from __future__ import annotations

from typing import Callable

import torch
from torch import Tensor

_ROUNDS = 50  # the error falls with each; a few are enough


def gains(inner: Tensor, energy: Tensor, select: Callable[[Tensor], Tensor]) -> Tensor:
    """What keeping each weight takes off the squared error of the best multiple of the effective weight.

    With factor s that is ``2 s inner - s^2 energy``, here over s: float32, of the shape of ``inner``. s is the least
    squares one of the weights that ``select`` (gains -> mask) keeps: mask and s are fitted in turn, from two starts,
    until neither changes. Over random weights of one magnitude this is the best; over others it comes close.
    """
    starts = (inner, inner / energy.sqrt().clamp(min=torch.finfo(energy.dtype).tiny))
    fitted = [_fitted(inner, energy, start, select) for start in starts]
    return max(fitted, key=lambda found: found[0])[1]


def _fitted(inner: Tensor, energy: Tensor, gain: Tensor, select: Callable[[Tensor], Tensor]) -> tuple[float, Tensor]:
    """(cosine but for a constant, gains) of a mask and a factor that fit one another."""
    mask, cosine = None, 0.0
    for _ in range(_ROUNDS):
        before, mask = mask, select(gain) != 0
        if before is not None and torch.equal(before, mask):
            break
        kept, product = energy[mask].sum(), inner[mask].sum()
        factor = product / kept if kept > 0 else torch.zeros_like(kept)
        cosine = float(product / kept.sqrt()) if kept > 0 else 0.0
        gain = 2 * inner - factor.clamp(min=0) * energy
    return cosine, gain


def best_gains(inner: Tensor, energy: Tensor) -> Tensor:
    """``gains`` where any number of weights may be kept, exactly: those of the largest ratio of inner to energy."""
    ratio = torch.where(energy > 0, inner / energy.clamp(min=torch.finfo(energy.dtype).tiny), torch.zeros_like(inner))
    order = torch.argsort(ratio.flatten(), descending=True, stable=True)
    products = inner.flatten()[order].double().cumsum(0)
    energies = energy.flatten()[order].double().cumsum(0).clamp(min=torch.finfo(torch.float64).tiny)
    best = (products / energies.sqrt()).argmax() if products.numel() else 0
    factor = (products[best] / energies[best]).clamp(min=0) if products.numel() else 0.0
    return 2 * inner - factor * energy


def ranks(values: Tensor) -> Tensor:
    """Of each value how many are smaller, of equal ones those of higher index: int64, of the shape of ``values``."""
    order = torch.argsort(values.flatten(), descending=True, stable=True)
    found = torch.empty_like(order)
    found[order] = torch.arange(order.numel() - 1, -1, -1, device=order.device)
    return found.view(values.shape)


def evenly(values: Tensor, low: float, high: float) -> Tensor:
    """Numbers in the order of ``values``, spread evenly over (low, high): float32."""
    return low + (high - low) * ((ranks(values) + 0.5) / max(values.numel(), 1))


def halves(inner: Tensor, energy: Tensor, bound: float) -> Tensor:
    """Numbers in (-bound, 0) for weights to drop and in (0, bound) for weights to keep, by what keeping gains."""
    gain = best_gains(inner, energy)
    scores, keep = torch.empty_like(gain), gain > 0
    scores[keep] = evenly(gain[keep], 0.0, bound)
    scores[~keep] = evenly(gain[~keep], -bound, 0.0)
    return scores
