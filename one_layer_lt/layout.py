"""From the scores that are searched to the mask of a whole tensor, and from its gradient back to the scores."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .config import MaskConfig
from .rules import MaskRule
from .selection import kept_count
from .weights import draw_words

_BLOCK = 1 << 20  # words of a pattern in memory at a time
_LOCKED, _FREE = 1, 2  # in a pattern; 0: dropped


class Layout:
    """Which weights of one tensor a mask is searched for, and how it covers the whole.

    shape: the weight's. scores_shape: the scores': one tile of the weight. searched: how many of them are searched;
    the others are dropped or locked by a pattern, a function of the seed and the tensor's name. held: how many are
    locked.
    """

    def __init__(self, config: MaskConfig, shape: tuple[int, ...], name: str) -> None:
        rows, columns = config.tiles
        if shape[0] % rows or shape[1] % columns:
            raise ValueError(
                f"tiles {config.tiles}: {name} of shape {shape} does not divide into {rows} x {columns} equal ones"
            )
        self.config, self.shape, self.name = config, tuple(shape), name
        self.scores_shape = tile_shape(self.shape, config)
        self.searched, self.held = math.prod(self.scores_shape), 0
        self._pattern: npt.NDArray[np.uint8] | None = None
        if config.drop or config.lock:
            self._pattern = _pattern(config, self.searched, name)
            self.held, self.searched = (int(np.count_nonzero(self._pattern == kind)) for kind in (_LOCKED, _FREE))

    @cached_property
    def free(self) -> Tensor | None:
        """The indices of the searched ones: int64, ascending; None where all are."""
        return None if self._pattern is None else torch.from_numpy(np.flatnonzero(self._pattern == _FREE))

    @cached_property
    def locked(self) -> Tensor | None:
        """The indices of those that are kept for good."""
        return None if self._pattern is None else torch.from_numpy(np.flatnonzero(self._pattern == _LOCKED))

    @property
    def is_plain(self) -> bool:
        """Whether the mask is that of the scores as they stand."""
        return self._pattern is None and self.config.tiles == (1, 1) and self.config.rescale == "none"

    def new_rule(self) -> MaskRule:
        """The rule for the searched scores: locked weights count as kept."""
        keep = None
        if self.config.keep is not None and self._pattern is not None:
            wanted = kept_count(self.config.keep, math.prod(self.scores_shape)) - self.held
            keep = min(max(wanted, 0), self.searched) / max(self.searched, 1)
        rule = self.config.new_rule(keep)
        rule.context.name = self.name
        return rule

    def search(self, scores: Tensor) -> Tensor:
        """The searched ones of the scores: themselves, or shape (searched,)."""
        return scores if self.free is None else scores.reshape(-1)[self.free.to(scores.device)]

    def cover(self, mask: Tensor) -> Tensor:
        """The whole mask, of the weight's shape, from that of the searched scores (of any shape)."""
        if self.free is not None and self.locked is not None:
            whole = mask.new_zeros(math.prod(self.scores_shape))
            whole[self.free.to(mask.device)] = mask.reshape(-1)
            whole[self.locked.to(mask.device)] = 1
            mask = whole
        mask = mask.reshape(self.scores_shape)
        return mask if self.config.tiles == (1, 1) else mask.repeat(*self.config.tiles, *(1 for _ in self.shape[2:]))

    def gather(self, grad: Tensor) -> Tensor:
        """The gradient of the scores from that of the mask: summed over tiles. Shape: the scores'."""
        if self.config.tiles == (1, 1):
            return grad
        rows, columns = self.config.tiles
        height, width, *kernel = self.scores_shape
        return grad.reshape(rows, height, columns, width, *kernel).sum((0, 2))

    def block_(self, grad: Tensor) -> Tensor:
        """Clear the gradient where nothing is searched, in place."""
        if self.free is None:
            return grad
        free = self.free.to(grad.device)
        kept = grad.view(-1)[free]
        grad.zero_().view(-1)[free] = kept
        return grad

    def factor(self, mask: Tensor) -> Tensor | None:
        """What the effective weight is multiplied by: all weights over kept ones, by ``rescale``; float32."""
        how = self.config.rescale
        if how == "none":
            return None
        kept = mask != 0
        if how == "tensor":
            return kept.numel() / kept.sum().clamp(min=1).float()
        across = tuple(dim for dim in range(kept.dim()) if dim != (0 if how == "row" else 1))
        size = math.prod(self.shape[dim] for dim in across)
        return size / kept.sum(across, keepdim=True).clamp(min=1).float()


def check_kept(layouts: Iterable[Layout]) -> None:
    """Raises ``ValueError`` where a mask of a model would keep no weight: all that comes after it would be zero."""
    ranked: dict[object, list[Layout]] = {}
    for layout in layouts:
        config, promised = layout.config, layout.new_rule().kept(layout.searched)
        if promised is None and config.keep is None:
            continue  # by a threshold
        together = (config.rule, config.keep, config.options) if promised is None else layout.name
        ranked.setdefault(together, []).append(layout)
    for alike in ranked.values():
        config, n = alike[0].config, sum(math.prod(layout.scores_shape) for layout in alike)
        where = f"of {alike[0].name}" if len(alike) == 1 else "that are ranked together"
        if any(layout.locked is not None and layout.locked.numel() for layout in alike):
            continue
        if config.keep is None and not alike[0].new_rule().kept(alike[0].searched):
            given = ", ".join(f"{name} {value}" for name, value in dict(config.options).items())
            raise ValueError(f"options: {config.rule} with {given} keeps none of the {n:,} weights {where}: keep more")
        if config.keep is not None and not kept_count(config.keep, n):
            raise ValueError(
                f"keep {config.keep} keeps none of the {n:,} weights {where}: the least that keeps one is {_least(n):g}"
            )


def _least(n: int) -> float:
    """A short number close to the least keep ratio that keeps one of ``n`` weights, and not below it."""
    unit = 100 * 10 ** len(str(n))
    return (math.floor(unit / (2 * n)) + 1) / unit


def tile_shape(shape: tuple[int, ...], config: MaskConfig) -> tuple[int, ...]:
    """The shape of the scores for a weight of ``shape``."""
    rows, columns = config.tiles
    return (shape[0] // rows, shape[1] // columns, *shape[2:])


def _pattern(config: MaskConfig, n: int, name: str) -> npt.NDArray[np.uint8]:
    """Of each of ``n`` weights whether it is dropped (0), locked (1) or searched (2)."""
    dropped, locked = round(config.drop * 2**32), round(config.lock * 2**32)
    kinds = np.empty(n, np.uint8)
    for start in range(0, n, _BLOCK):
        block = kinds[start : start + _BLOCK]
        words = draw_words(block.size, seed=config.seed, name=f"frozen:{name}", first=start)
        np.add(words >= dropped, words >= dropped + locked, out=block, dtype=np.uint8)
    if not (kinds == _FREE).any():
        raise ValueError(f"drop {config.drop} and lock {config.lock} leave none of the {n} weights of {name} to search")
    return kinds
