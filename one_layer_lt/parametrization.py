"""The one mechanism: a parametrization that maps a module's scores to its effective weight."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, cast

import torch
from torch import Tensor, nn

from .config import MaskConfig
from .eager import eager, is_exporting
from .layout import Layout, tile_shape
from .maskable import Place
from .rules.straight_through import covered, effective_weight
from .scope import JointRanking
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
        self.layout = Layout(config, tuple(shared.weight.shape), name)
        self.rule = self.layout.new_rule()
        self._cover = None if self.layout.is_plain else self.layout
        self.joint: JointRanking | None = None
        self._value: Tensor | None = None
        self._key: tuple[object, ...] | None = None

    @eager
    def forward(self, scores: Tensor) -> Tensor:
        if is_exporting():
            raise RuntimeError(
                "a masked model cannot be exported: fold_ it first, which makes its weights plain tensors"
            )
        with_grad = torch.is_grad_enabled()
        lasting = not with_grad and not self.training
        # Optimisers write through .data, which leaves the version as it was: only evaluation may rely on it.
        others = [self.shared.weight._version, *([] if self.joint is None else self.joint.version())]
        key = (with_grad, scores.data_ptr(), scores._version, scores.dtype, scores.device, *others)
        if self._value is not None and key == self._key:
            return self._value
        self.forget()
        training = self.training
        weight = effective_weight(
            self.rule, scores, self.shared.weight, lambda: self.searched_mask(scores, training), self._cover, training
        )
        if lasting or _computed is not None:
            self._value, self._key = weight, key
            if not lasting and _computed is not None:
                _computed.append(self)
        return weight

    def mask(self, scores: Tensor) -> Tensor:
        """The mask that evaluation uses, of the weight's shape and the scores' dtype."""
        if self.joint is not None:
            self.joint.forget()
        return self.layout.cover(self.searched_mask(scores, training=False))

    def searched_mask(self, scores: Tensor, training: bool) -> Tensor:
        """The mask of those scores that are searched; in training that of this very forward pass."""
        if self.joint is not None:
            return self.joint.mask(self.name, self.rule, training)
        searched = self.layout.search(scores.detach())
        return self.rule.training_mask(searched) if training else self.rule.mask(searched)

    def effective(self, scores: Tensor, training: bool) -> Tensor:
        """The effective weight, a new tensor without gradient."""
        mask = self.searched_mask(scores, training)
        return covered(self.rule, mask, self.shared.weight, self._cover)[0]

    def forget(self) -> None:
        """Drop the kept effective weight."""
        self._value = self._key = None

    def train(self, mode: bool = True) -> MaskedWeight:
        if mode != self.training:  # fairseq says eval() before every batch of a validation
            self.forget_all()
        return super().train(mode)

    def forget_all(self) -> None:
        """Drop whatever is kept, of the tensors ranked together with this one, too."""
        self.forget()
        if self.joint is not None:
            self.joint.forget()

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> MaskedWeight:
        self.forget_all()  # .half() and the like write through .data too, and may reuse an address
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.forget_all()
        self.rule.context.advanced = None  # the schedule has not acted on these scores

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_value": None, "_key": None}

    def extra_repr(self) -> str:
        keep = "" if self.config.keep is None else f", keep={self.config.keep}"
        return f"rule={self.config.rule!r}{keep}"


def masked_at(place: Place) -> MaskedWeight:
    """The parametrization of a masked tensor."""
    return cast(MaskedWeight, place.parametrization)


def initial_scores(shape: tuple[int, ...], config: MaskConfig, name: str) -> Tensor:
    """The scores that module ``name`` with a weight of ``shape`` starts from: a function of these and the seed.

    float32, of the weight's shape, or of that of one of its tiles.
    """
    bound = 1.0 / math.sqrt(fans(shape)[0])  # kaiming_uniform with a = sqrt(5)
    shape, rule = tile_shape(shape, config), config.new_rule()
    if config.score_init == "constant":
        return rule.start(torch.full(shape, bound), bound)
    spread = bound if config.score_init == "standard" else 0.01 * bound
    scores = draw_uniform(shape, spread, seed=config.seed, name=f"scores:{name}")
    return rule.start(scores if config.score_init == "standard" else scores.add_(bound), bound)
