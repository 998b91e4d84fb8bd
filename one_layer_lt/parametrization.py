"""The one mechanism: a parametrization that maps a module's scores to its effective weight."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, cast

import torch
from torch import Tensor, nn

from .config import MaskConfig
from .eager import eager, is_exporting, is_transformed
from .layout import Layout, tile_shape
from .maskable import Place
from .record import KEY, OtherWeights, differences, record_of
from .rules.straight_through import covered, effective_weight
from .scope import JointRanking
from .selection import block_sums, same_bits
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

    Without gradient and out of training mode the effective weight is kept until the scores change, however they do.
    The state dict holds a record of what the scores are trained over (``record``): loading scores of other random
    weights, or of another mask, raises ``OtherWeights``; scores without a record load with one warning.
    """

    trained_over: Tensor

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
        self._version = 0  # of the kept effective weight: whoever writes into it shall not change the network
        self._sums: Tensor | None = None  # of a lasting one: writes through ``.data`` leave the version as it is
        self._seen: Tensor | None = None  # the scores that a lasting effective weight was computed from
        self.register_buffer(KEY, record_of(config, shared, name))

    @eager
    def forward(self, scores: Tensor) -> Tensor:
        if is_exporting():
            raise RuntimeError(
                "a masked model cannot be exported: fold_ it first, which makes its weights plain tensors"
            )
        if is_transformed(scores):
            raise RuntimeError("torch.func does not see through masks: fold_ the model, or take no gradient of it")
        with_grad = torch.is_grad_enabled()
        # What is made in inference mode may be written into without a trace.
        lasting = not with_grad and not self.training and self.joint is None and not torch.is_inference_mode_enabled()
        others = [
            id(self.shared.weight),
            self.shared.weight._version,
            *([] if self.joint is None else self.joint.version()),
        ]
        key = (with_grad, id(scores), scores._version, scores.dtype, scores.device, scores.shape, *others)
        if self._value is not None and key == self._key and self._is_current(scores):
            return self._value
        self.forget()
        training = self.training
        if training and with_grad and self.rule.context.advanced is None:
            self.rule.context.untold = True
        weight = effective_weight(
            self.rule, scores, self.shared.weight, lambda: self.searched_mask(scores, training), self._cover, training
        )
        if lasting or _computed is not None:
            self._value, self._key, self._version = weight, key, _version(weight)
            if lasting:
                self._seen, self._sums = scores.detach().clone(), block_sums(weight)
            elif _computed is not None:
                _computed.append(self)
        return weight

    def _is_current(self, scores: Tensor) -> bool:
        """Whether the kept weight is still that of the scores: both may be written into, and ``.data`` tells nobody."""
        if self._value is None or _version(self._value) != self._version:
            return False
        if self._seen is None or self._sums is None:
            return True
        return same_bits(self._seen, scores.detach()) and torch.equal(self._sums, block_sums(self._value))

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
        self._value = self._key = self._seen = self._sums = None

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
        self.forget_all()
        super()._apply(fn, recurse)
        # ``to_empty`` allocates and fills nothing.
        self.trained_over = record_of(self.config, self.shared, self.name).to(self.trained_over.device)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        self._check_record(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self.forget_all()
        self.rule.context.advanced = None  # the schedule has not acted on these scores

    def _check_record(self, state_dict: dict[str, Any], prefix: str) -> None:
        record = state_dict.get(prefix + KEY)
        if record is None:
            warnings.warn(
                "these scores do not say what they were trained over, for an early version saved them: be sure that "
                "the model has the seed and the settings of their training",
                stacklevel=2,
            )
            state_dict[prefix + KEY] = self.trained_over
            return
        self.check_record(record)

    def check_record(self, record: Tensor) -> None:
        """Raises ``OtherWeights`` for scores that were trained over others, ``ValueError`` for a damaged record."""
        for field, (own, theirs) in differences(self.trained_over, record).items():
            raise OtherWeights(self.name, field, own, theirs)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_value": None, "_key": None, "_seen": None, "_sums": None}

    def extra_repr(self) -> str:
        keep = "" if self.config.keep is None else f", keep={self.config.keep}"
        return f"rule={self.config.rule!r}{keep}"


def _version(tensor: Tensor) -> int:
    """How often the tensor was written into; tensors made in inference mode do not count."""
    return 0 if tensor.is_inference() else tensor._version


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
