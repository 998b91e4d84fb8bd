"""Rules that keep a promised number of weights, those of the largest scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..selection import as_one, kept_count, select_
from .base import Fused, MaskRule, check_option
from .imitation import evenly, gains
from .schedules import scheduled

_SIGN_BIT = np.int32(-(2**31))
_BLOCK = 1 << 15  # elements: the block and its signs stay in the processor's cache
SCOPES = ("tensor", "global")


@dataclass
class RankedRule(MaskRule):
    """Keep exactly ``round(keep * n)`` weights, ranked by score; ties go to the lowest index.

    scope: ``tensor``, or ``global``: n counts the weights of all tensors of one configuration, ranked together.
    ramp: updates in which training goes from keeping all to keeping ``keep``, in equal steps (Diffenderfer & Kailkhura
        2021, arXiv 2103.09377, ramp a global keep so that no layer collapses); evaluation always keeps ``keep``.
    """

    magnitude: ClassVar[bool]
    fusable: ClassVar[bool] = False  # nothing but the selection: kernels can do it all
    keep: float = 0.5
    scope: str = "tensor"
    ramp: int = 0

    def __post_init__(self) -> None:
        check_option(self.scope in SCOPES, "scope", self.scope, f"one of {', '.join(SCOPES)}")
        check_option(self.ramp >= 0, "ramp", self.ramp, "at least 0 updates")

    @property
    def is_scheduled(self) -> bool:
        return self.ramp > 0 or super().is_scheduled

    @property
    def is_global(self) -> bool:
        return self.scope == "global"

    def kept(self, n: int) -> int | None:
        return None if self.is_global else kept_count(self.keep, n)

    def mask(self, scores: Tensor) -> Tensor:
        return self.selected(scores, self.keep)

    def training_mask(self, scores: Tensor) -> Tensor:
        return self.selected(scores, self.keep_now)

    def fused(self, training: bool) -> Fused | None:
        if not self.fusable or self.is_global:
            return None
        return Fused(self.keep_now if training else self.keep, self.magnitude)

    @property
    def keep_now(self) -> float:
        """The keep ratio of training at this update."""
        return scheduled("linear", 1.0, self.keep, self.context.update, self.ramp) if self.ramp else self.keep

    def selected(self, scores: Tensor, keep: float) -> Tensor:
        """1 where ``scores`` is among the largest, else 0."""
        k = kept_count(keep, scores.numel())
        return select_(torch.empty_like(scores, requires_grad=False), scores, k, magnitude=self.magnitude)

    def score_gradient_(self, grad: Tensor, scores: Tensor) -> Tensor:
        return times_sign_(grad, scores) if self.magnitude else grad

    def project(self, inner: Tensor, energy: Tensor, bound: float) -> Tensor:
        k = kept_count(self.keep, inner.numel())
        gain = gains(inner, energy, lambda gain: select_(torch.empty_like(gain), gain, k, magnitude=False))
        return evenly(gain, 0.0 if self.magnitude else -bound, bound)

    def selected_together(self, scores: Sequence[Tensor], training: bool) -> list[Tensor]:
        """The masks of tensors that are ranked as one."""
        return as_one(scores, self.training_mask if training else self.mask)


def times_sign_(grad: Tensor, scores: Tensor) -> Tensor:
    """Multiply ``grad`` in place by the sign of ``scores``, a zero's sign being its sign bit."""
    plain = grad.is_contiguous() and scores.is_contiguous() and grad.dtype == scores.dtype == torch.float32
    if grad.device.type != "cpu" or not plain:
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
