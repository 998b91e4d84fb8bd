"""What a ticket is made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..config import MaskConfig
from ..errors import UserError
from ..layout import Layout
from ..rules import MaskRule
from ..weights import SharedWeight
from .planes import Bits, count_ones, unpack


class TicketError(UserError):
    """A ticket that cannot be read, trusted or run; the message says what is wrong with it."""


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what odd values make Python, numpy and torch raise into ``TicketError``."""
    try:
        yield
    except UserError:
        raise
    except MemoryError:
        raise TicketError("takes more memory than there is") from None
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        said = "".join(str(error).splitlines()[:1]) or type(error).__name__
        raise TicketError(f"{said:.200}") from error


@dataclass(frozen=True)
class WeightSpec:
    """A random weight as a ticket names it: what it is drawn from, and the digest that the draw must have.

    period: after how many elements it repeats; 0: never.
    """

    name: str
    shape: tuple[int, ...]
    init: str
    seed: int
    scale: float
    digest: str
    period: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def drawn(self, redraws: Tensor | None = None) -> SharedWeight:
        """The random weight, float32 on CPU, each element of the draw that ``redraws`` says; no digest is checked."""
        shared = SharedWeight(
            self.shape,
            self.init,
            seed=self.seed,
            name=self.name,
            scale=self.scale,
            period=self.period,
            redrawn=redraws is not None,
        )
        if redraws is not None:
            shared.restore(redraws)
        return shared


@dataclass(frozen=True)
class Mask:
    """The mask of the module ``name``, over the random weight ``weight``.

    planes: bits, packed eight to a byte: one for each searched weight, and in later planes one for each 1 of the plane
        before. also: other modules that have the same mask. scale: the rule's factor on the whole tensor, if any.
    """

    name: str
    weight: WeightSpec
    config: MaskConfig
    planes: tuple[Bits, ...]
    also: tuple[str, ...] = ()
    scale: float | None = None

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.config, self.weight.shape, self.name)

    @cached_property
    def rule(self) -> MaskRule:
        return self.layout.new_rule()

    @property
    def size(self) -> int:
        """How many weights are searched: the bits of the first plane."""
        return self.layout.searched

    @property
    def lengths(self) -> list[int]:
        """How many bits each plane has."""
        return [self.size, *map(count_ones, self.planes[:-1])]

    @property
    def kept(self) -> int:
        """How many of the searched weights the mask keeps."""
        return self.rule.count_kept(count_ones(self.planes[0]), self.size)

    @property
    def kept_in_all(self) -> int:
        """How many weights of the whole tensor the mask keeps."""
        return (self.kept + self.layout.held) * math.prod(self.config.tiles)

    def values(self) -> Tensor:
        """The whole mask: small integers, of the weight's shape."""
        planes = [unpack(plane, length) for plane, length in zip(self.planes, self.lengths)]
        return self.layout.cover(torch.from_numpy(self.rule.from_planes(planes)))


@dataclass(frozen=True)
class Contents:
    """All that a ticket holds.

    architecture: JSON-like; ``kind`` says who builds the model, and is absent where that is the caller's business.
    masks: in the order of the model's modules; tied modules once.
    dense: trained or fixed tensors that no seed gives, by their names in the model.
    existing: the frozen weights that were not drawn but found (init ``existing``).
    redraws: of random weights that were drawn again, which draw each element is of (int16).
    assets: files that running it takes: a tokenizer, dictionaries.
    card: what it says of itself, as ``card.checked`` gives it; may be empty.
    """

    masks: tuple[Mask, ...]
    architecture: Mapping[str, Any] = field(default_factory=dict)
    dense: Mapping[str, Tensor] = field(default_factory=dict)
    existing: Mapping[WeightSpec, Tensor] = field(default_factory=dict)
    redraws: Mapping[WeightSpec, Tensor] = field(default_factory=dict)
    assets: Mapping[str, bytes] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> list[WeightSpec]:
        """The random weights, in the order of first use."""
        return list(dict.fromkeys(mask.weight for mask in self.masks))
