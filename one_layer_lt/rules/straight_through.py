"""Top-k selection with a straight-through gradient: what ``edge_popup`` and ``topk`` share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..selection import fused_kernels, kept_count, select_
from .base import MaskRule

_SIGN_BIT = np.int32(-(2**31))
_BLOCK = 1 << 15  # elements: the block and its signs stay in the processor's cache


class TopKRule(MaskRule):
    """Keep exactly ``round(keep * n)`` weights of a tensor, ranked by score."""

    magnitude: bool

    def kept(self, n: int) -> int:
        return kept_count(self.keep, n)

    def mask(self, scores: Tensor) -> Tensor:
        k = self.kept(scores.numel())
        return select_(torch.empty_like(scores, requires_grad=False), scores, k, magnitude=self.magnitude)

    def effective_weight(self, scores: Tensor, weight: Tensor) -> Tensor:
        result: Tensor = _StraightThrough.apply(scores, weight, self)
        return result


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, weight: Tensor, rule: TopKRule) -> Tensor:
        ctx.save_for_backward(scores, weight)
        ctx.magnitude = rule.magnitude
        kernels = fused_kernels(scores, weight) if scores.shape == weight.shape else None
        if kernels is not None:
            value: Tensor = kernels.effective_weight(
                scores, weight, rule.kept(scores.numel()), magnitude=rule.magnitude
            )
            return value
        return rule.mask(scores).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        scores, weight = ctx.saved_tensors
        kernels = fused_kernels(scores, weight, grads[0]) if scores.shape == weight.shape else None
        if kernels is not None:
            return kernels.grad_scores(grads[0], scores, weight, magnitude=ctx.magnitude), None, None
        grad = torch.mul(grads[0], weight, out=torch.empty_like(scores, memory_format=torch.contiguous_format))
        return (_times_sign_(grad, scores) if ctx.magnitude else grad), None, None


def _times_sign_(grad: Tensor, scores: Tensor) -> Tensor:
    """Multiply ``grad`` in place by the sign of ``scores``, a zero's sign being its sign bit."""
    if grad.device.type != "cpu" or grad.dtype != torch.float32 or not scores.is_contiguous():
        return grad.mul_(torch.copysign(torch.ones_like(scores), scores))
    bits = grad.view(-1).numpy().view(np.int32)
    signs = scores.detach().view(-1).numpy().view(np.int32)
    scratch = np.empty(min(_BLOCK, bits.size), np.int32)
    for start in range(0, bits.size, _BLOCK):
        block = bits[start : start + _BLOCK]
        part = scratch[: block.size]
        np.bitwise_and(signs[start : start + _BLOCK], _SIGN_BIT, out=part)
        np.bitwise_xor(block, part, out=block)
    return grad
