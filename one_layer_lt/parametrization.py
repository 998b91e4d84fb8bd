"""The one mechanism: a parametrization that maps a module's scores to its effective weight."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

import torch
from torch import Tensor, nn

from .config import MaskConfig
from .rules import RULES
from .weights import SharedWeight, draw_uniform, fans

_computed: list[MaskedWeight] | None = None  # those to forget at the end of the outermost cached_weights()


@contextmanager
def cached_weights() -> Iterator[None]:
    """Within it, each effective weight is computed once, also where several modules use it."""
    global _computed
    if _computed is not None:
        yield
        return
    _computed = []
    try:
        yield
    finally:
        for masked in _computed:
            masked.forget()
        _computed = None


class MaskedWeight(nn.Module):
    """scores -> effective weight, for one tensor (tied modules use one instance).

    Without gradient and out of training mode the effective weight is kept until the scores change.
    """

    def __init__(self, shared: SharedWeight, config: MaskConfig, name: str) -> None:
        super().__init__()
        self.shared = shared
        self.config = config
        self.name = name
        self.rule = RULES[config.rule](config.keep)
        self._value: Tensor | None = None
        self._key: tuple[object, ...] | None = None

    def forward(self, scores: Tensor) -> Tensor:
        with_grad = torch.is_grad_enabled()
        lasting = not with_grad and not self.training
        # Optimisers write through .data, which leaves the version as it was: only evaluation may rely on it.
        key = (with_grad, scores.data_ptr(), scores._version, scores.dtype, scores.device)
        if self._value is not None and key == self._key:
            return self._value
        self.forget()
        weight = self.rule.effective_weight(scores, self.shared.weight)
        if lasting or _computed is not None:
            self._value, self._key = weight, key
            if not lasting and _computed is not None:
                _computed.append(self)
        return weight

    def mask(self, scores: Tensor) -> Tensor:
        """The mask of ``scores``, of their shape and dtype."""
        return self.rule.mask(scores)

    def forget(self) -> None:
        """Drop the kept effective weight."""
        self._value = self._key = None

    def train(self, mode: bool = True) -> MaskedWeight:
        if mode != self.training:  # fairseq says eval() before every batch of a validation
            self.forget()
        return super().train(mode)

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> MaskedWeight:
        self.forget()  # .half() and the like write through .data too, and may reuse an address
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_value": None, "_key": None}

    def extra_repr(self) -> str:
        return f"rule={self.config.rule!r}, keep={self.config.keep}"


def initial_scores(shape: tuple[int, ...], config: MaskConfig, name: str) -> Tensor:
    """The scores that module ``name`` starts from, float32, of ``shape``: a function of the seed and the name."""
    bound = 1.0 / math.sqrt(fans(shape)[0])  # kaiming_uniform with a = sqrt(5)
    if config.score_init == "constant":
        return torch.full(shape, bound)
    spread = bound if config.score_init == "standard" else 0.01 * bound
    scores = draw_uniform(shape, spread, seed=config.seed, name=f"scores:{name}")
    return scores if config.score_init == "standard" else scores.add_(bound)
