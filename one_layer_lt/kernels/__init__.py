"""Triton kernels of the GPU path: exact selection, the effective weight, and the gradient of the scores.

Imported only where a CUDA tensor needs them and triton is installed (``selection.fused_kernels``). Scores, weights,
gradients and results are float32, float16 or bfloat16, of at most 2**30 elements; nothing waits for the device.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Union

import numpy as np
import torch
import triton
from torch import Tensor

from ..weights import INITS, _key
from .device import (
    DIGITS,
    ROW,
    apply_kernel,
    digit_kernel,
    draw_kernel,
    grad_kernel,
    histogram_kernel,
    ties_kernel,
)

BLOCK = 4096  # elements a program; a power of two


class Drawn(NamedTuple):
    """A random weight that kernels draw where they use it, in float32: the same bits as ``weights.draw``."""

    family: str
    factor: float
    first: int
    second: int

    @classmethod
    def of(cls, shape: tuple[int, ...], init: str, *, seed: int, name: str, scale: float = 1.0) -> Drawn:
        """From the arguments of ``weights.draw``. Raises ``ValueError`` for families but ``uniform`` and ``sign``."""
        family, std = INITS[init].family, INITS[init].std(tuple(shape)) * scale
        if family not in ("uniform", "sign"):
            raise ValueError(f"no kernel draws the family {family!r}: only 'uniform' and 'sign'")
        factor = std * math.sqrt(3.0) / 2**23 if family == "uniform" else std
        first, second = (int(word.view(np.int32)) for word in _key(seed, name))  # signed: always 32 bits to triton
        return cls(family, float(np.float32(factor)), first, second)


Weight = Union[Tensor, Drawn]


def kth_largest(scores: Tensor, k: int, *, magnitude: bool, block: int = BLOCK) -> Tensor:
    """The key of the k-th largest score, and how many scores of that key are kept: int32, shape (2,), on the device.

    Keys are unsigned integers, as wide as the scores' dtype, in the order of the scores or of their magnitudes.
    """
    return _kth_largest(_bits(scores), k, magnitude, block)


def select_(out: Tensor, scores: Tensor, k: int, *, magnitude: bool, block: int = BLOCK) -> Tensor:
    """``selection.select_`` on the device; ``out`` and ``scores`` share their shape and device."""
    mask = out if out.is_contiguous() else torch.empty_like(out, memory_format=torch.contiguous_format)
    _apply(mask, scores, None, k, magnitude, block)
    return out if mask is out else out.copy_(mask)


def effective_weight(scores: Tensor, weight: Weight, k: int, *, magnitude: bool, block: int = BLOCK) -> Tensor:
    """``mask * weight``, contiguous, in the shape and dtype of ``scores``; a tensor ``weight`` has that shape too."""
    out = torch.empty_like(scores, requires_grad=False, memory_format=torch.contiguous_format)
    return _apply(out, scores, weight, k, magnitude, block)


def grad_scores(grad: Tensor, scores: Tensor, weight: Weight, *, magnitude: bool, block: int = BLOCK) -> Tensor:
    """``grad * weight``, with ``magnitude`` times the scores' sign bits; contiguous, shape and dtype of ``scores``."""
    out = torch.empty_like(scores, requires_grad=False, memory_format=torch.contiguous_format)
    grid = _grid(out, block)
    with torch.cuda.device_of(out):
        if grid[0]:
            grad_kernel[grid](
                _words(out),
                _words(grad),
                _bits(scores),
                n=out.numel(),
                **_source(weight),
                MAGNITUDE=magnitude,
                BLOCK=block,
            )
    return out


def draw_(out: Tensor, weight: Drawn, *, block: int = BLOCK) -> Tensor:
    """Write the random weight into the contiguous ``out``, and return it: in float32, the bits of ``weights.draw``."""
    grid = _grid(out, block)
    with torch.cuda.device_of(out):
        if grid[0]:
            draw_kernel[grid](_words(out), n=out.numel(), **_source(weight), BLOCK=block)
    return out


def _kth_largest(bits: Tensor, k: int, magnitude: bool, block: int) -> Tensor:
    width = 8 * bits.element_size()
    rows = torch.zeros((width // 8, ROW.value), dtype=torch.int32, device=bits.device)
    grid = _grid(bits, block)
    shape = {"WIDTH": width, "MAGNITUDE": magnitude, "BLOCK": block}
    with torch.cuda.device_of(bits):
        for step in range(width // 8 if grid[0] else 0):
            histogram_kernel[grid](rows, bits, bits.numel(), STEP=step, **shape)
            digit_kernel[(1,)](rows, k, STEP=step)
    return rows[-1, DIGITS.value :]


def _apply(out: Tensor, scores: Tensor, weight: Weight | None, k: int, magnitude: bool, block: int) -> Tensor:
    """``out`` is contiguous; without a weight it becomes the mask."""
    grid, bits = _grid(out, block), _bits(scores)
    if not grid[0]:
        return out
    shape = {"n": out.numel(), "WIDTH": 8 * bits.element_size(), "MAGNITUDE": magnitude, "BLOCK": block}
    with torch.cuda.device_of(out):
        kth = _kth_largest(bits, k, magnitude, block)
        ties = torch.empty(grid, dtype=torch.int32, device=out.device)
        ties_kernel[grid](ties, kth, bits, **shape)
        through = ties.cumsum(0, dtype=torch.int32)
        apply_kernel[grid](_words(out), kth, ties, through, bits, **_source(weight), **shape)
    return out


def _grid(tensor: Tensor, block: int) -> tuple[int]:
    return (triton.cdiv(tensor.numel(), block),)


def _bits(scores: Tensor) -> Tensor:
    """The scores' bits in the order of their logical index, as signed integers of the same width."""
    return scores.detach().contiguous().view(torch.int32 if scores.element_size() == 4 else torch.int16)


def _words(values: Tensor) -> Tensor:
    """As the kernels take floats: bfloat16 by its bits, since Triton's interpreter would truncate, not round."""
    values = values.detach().contiguous()
    return values.view(torch.int16) if values.dtype == torch.bfloat16 else values


def _source(weight: Weight | None) -> dict[str, Any]:
    """Where the kernels take the random weight from."""
    if isinstance(weight, Drawn):
        family, factor, first, second = weight
        return {"weight_ptr": None, "factor": factor, "first": first, "second": second, "FAMILY": family}
    pointer, family = (None, "none") if weight is None else (_words(weight), "stored")
    return {"weight_ptr": pointer, "factor": 0.0, "first": 0, "second": 0, "FAMILY": family}
