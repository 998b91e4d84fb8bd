"""What a ticket is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..config import MaskConfig
from ..rules import RULES, MaskRule
from .planes import Bits, count_ones


class TicketError(ValueError):
    """A ticket that cannot be read, trusted or run; the message says what is wrong with it."""


@dataclass(frozen=True)
class WeightSpec:
    """A random weight as a ticket names it: what it is drawn from, and the digest that the draw must have."""

    name: str
    shape: tuple[int, ...]
    init: str
    seed: int
    scale: float
    digest: str

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Mask:
    """The mask of the module ``name``: bit planes, packed eight to a byte, over the random weight ``weight``."""

    name: str
    weight: WeightSpec
    config: MaskConfig
    planes: tuple[Bits, ...]

    @property
    def rule(self) -> MaskRule:
        return RULES[self.config.rule](self.config.keep)

    @property
    def size(self) -> int:
        return self.weight.size

    @property
    def kept(self) -> int:
        """How many weights the mask keeps."""
        return count_ones(self.planes[0])


@dataclass(frozen=True)
class Contents:
    """All that a ticket holds.

    architecture: JSON-like; ``kind`` says who builds the model, and is absent where that is the caller's business.
    masks: in the order of the model's modules; tied modules once.
    dense: trained or fixed tensors that no seed gives, by their names in the model.
    existing: the frozen weights that were not drawn but found (init ``existing``).
    assets: files that running it takes: a tokenizer, dictionaries.
    """

    masks: tuple[Mask, ...]
    architecture: Mapping[str, Any] = field(default_factory=dict)
    dense: Mapping[str, Tensor] = field(default_factory=dict)
    existing: Mapping[WeightSpec, Tensor] = field(default_factory=dict)
    assets: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def weights(self) -> list[WeightSpec]:
        """The random weights, in the order of first use."""
        return list(dict.fromkeys(mask.weight for mask in self.masks))
