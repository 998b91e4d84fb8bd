"""The settings of a masked module."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from numbers import Real

from .rules import RULES
from .sharing import SHARES
from .weights import EXISTING, INITS

SCORE_INITS = ("standard", "constant", "constant_noisy")


@dataclass(frozen=True)
class MaskConfig:
    """How weights are drawn, shared and masked. Raises ``ValueError`` for a value that cannot be.

    seed: of the random weights and of the scores' start.
    keep: fraction of each tensor's weights kept, in (0, 1].
    rule: a mask rule, a key of ``RULES``.
    init: distribution of the random weights, a key of ``INITS``; or ``existing``, to mask the weights as they stand
        (pre-trained ones, say), which are then saved with the model.
    scale: factor on the random weights.
    scale_fan: count only kept weights as fan: the random weights grow by ``1 / sqrt(keep)``
        (Ramanujan et al. 2019, arXiv 1911.13299, section 4.1).
    share: which modules use one random weight: ``none`` or ``layer``.
    score_init: ``standard`` (uniform within ``1 / sqrt(fan_in)``), ``constant`` (all equal to that bound) or
        ``constant_noisy`` (within 1% of it).
    """

    seed: int = 1
    keep: float = 0.5
    rule: str = "edge_popup"
    init: str = "kaiming_uniform"
    scale: float = 1.0
    scale_fan: bool = False
    share: str = "layer"
    score_init: str = "standard"

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise ValueError(f"seed must be an integer, not {self.seed!r}")
        if not (_is_real(self.keep) and 0.0 < self.keep <= 1.0):
            raise ValueError(f"keep must be in (0, 1], not {self.keep!r}")
        if not (_is_real(self.scale) and math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be a positive number, not {self.scale!r}")
        if not isinstance(self.scale_fan, bool):
            raise ValueError(f"scale_fan must be True or False, not {self.scale_fan!r}")
        _check_choice("rule", self.rule, RULES)
        _check_choice("init", self.init, [*INITS, EXISTING])
        _check_choice("share", self.share, SHARES)
        _check_choice("score_init", self.score_init, SCORE_INITS)

    @property
    def weight_scale(self) -> float:
        """The factor on the standard deviation of ``init``: ``scale``, and the kept fan where asked for."""
        return self.scale / math.sqrt(self.keep) if self.scale_fan else self.scale


def _is_real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_choice(field: str, value: str, choices: Collection[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"unknown {field} {value!r}; choose one of: {', '.join(choices)}")
