"""The effective weight as a differentiable function of the scores: straight through the mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Optional, Protocol

import torch
from torch import Tensor

from ..selection import fused_kernels, kept_count


class Fused(NamedTuple):
    """Keep the largest scores, or the largest in magnitude: what fused kernels know."""

    keep: float
    magnitude: bool


class Rule(Protocol):
    """What is asked of a mask rule here: ``base.MaskRule``."""

    def fused(self, training: bool) -> Optional[Fused]: ...
    def scale(self, mask: Tensor, weight: Tensor) -> Optional[Tensor]: ...
    def combine_(self, mask: Tensor, weight: Tensor, scale: Optional[Tensor]) -> Tensor: ...
    def score_gradient_(self, grad: Tensor, scores: Tensor) -> Tensor: ...


class Cover(Protocol):
    """How a mask covers a tensor, where it is more than one score a weight: ``layout.Layout``."""

    def cover(self, mask: Tensor) -> Tensor: ...
    def factor(self, mask: Tensor) -> Optional[Tensor]: ...
    def gather(self, grad: Tensor) -> Tensor: ...
    def block_(self, grad: Tensor) -> Tensor: ...


def effective_weight(
    rule: Rule, scores: Tensor, weight: Tensor, mask: Callable[[], Tensor], cover: Optional[Cover], training: bool
) -> Tensor:
    """The effective weight: shape of ``weight``, dtype of ``scores``, differentiable in ``scores`` alone.

    mask: finds the mask of the searched scores, as a new tensor; not called where fused kernels find it themselves.
    """
    if not (torch.is_grad_enabled() and scores.requires_grad):
        return _StraightThrough.forward(_NoContext(), scores, weight, rule, mask, cover, training)
    value: Tensor = _StraightThrough.apply(scores, weight, rule, mask, cover, training)
    return value


def covered(rule: Rule, mask: Tensor, weight: Tensor, cover: Optional[Cover]) -> tuple[Tensor, Optional[Tensor]]:
    """The effective weight from the mask of the searched scores, and the factor that the layout put on it."""
    whole = mask if cover is None else cover.cover(mask)
    scale, factor = rule.scale(whole, weight), None if cover is None else cover.factor(whole)
    value = rule.combine_(whole, weight, scale)
    return (value if factor is None else value.mul_(factor.to(value))), factor


class _NoContext:
    """Where nothing goes backward."""

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        weight: Tensor,
        rule: Rule,
        mask: Callable[[], Tensor],
        cover: Optional[Cover],
        training: bool,
    ) -> Tensor:
        fused = rule.fused(training) if cover is None and scores.shape == weight.shape else None
        ctx.rule, ctx.cover, ctx.fused = rule, cover, fused
        kernels = None if fused is None else fused_kernels(scores, weight)
        if kernels is not None and fused is not None:
            ctx.save_for_backward(scores, weight)
            k = kept_count(fused.keep, scores.numel())
            value: Tensor = kernels.effective_weight(scores, weight, k, magnitude=fused.magnitude)
            return value
        value, factor = covered(rule, mask(), weight, cover)
        ctx.save_for_backward(scores, weight, *(() if factor is None else (factor,)))
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Optional[Tensor], ...]:
        scores, weight, *factors = ctx.saved_tensors
        others = (None,) * 5
        kernels = None if ctx.fused is None else fused_kernels(scores, weight, grads[0])
        if kernels is not None:
            return kernels.grad_scores(grads[0], scores, weight, magnitude=ctx.fused.magnitude), *others
        whole = torch.empty(weight.shape, dtype=scores.dtype, device=scores.device)
        grad = torch.mul(grads[0], weight, out=whole)
        if factors:
            grad.mul_(factors[0].to(grad))
        if ctx.cover is None:
            return ctx.rule.score_gradient_(grad, scores.detach()), *others
        grad = ctx.rule.score_gradient_(ctx.cover.gather(grad), scores.detach())
        return ctx.cover.block_(grad), *others
