"""Magnitude pruning of trained weights: the baseline that a mask over random weights is measured against.

    prunable_(model)                          # each weight times a mask, of ones at first; train the weights
    prune_(model, keep=0.8, scope="global")   # keep the largest; rewind the weights, train again, and so on
    fold_pruned_(model)                       # plain dense weights, zero where pruned

Sources: Frankle & Carbin 2018 (arXiv 1803.03635); rewinding to an early update: Frankle et al. 2019 (arXiv 1903.01611,
1912.05671).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from .maskable import parametrized_places
from .selection import as_one, kept_count, select_
from .trained import fold_parametrized_, parametrization_of, parametrize_, parametrized_modules

SCOPES = ("global", "tensor")


class PrunedWeight(nn.Module):
    """weight -> weight * mask, for one tensor (tied modules use one instance). Pruned weights get no gradient.

    mask: bool, of the weight's shape, all ones at first; part of the state dict.
    """

    mask: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def prunable_(model: nn.Module) -> nn.Module:
    """Give the weight of every ``nn.Linear``, ``nn.Embedding`` and ``nn.Conv2d`` a mask in place; return ``model``.

    The weights are ``parametrizations.weight.original`` then, the same parameters as before, and their masks
    ``parametrizations.weight.0.mask``. Modules whose weights are tied stay tied, and share the mask.

    Raises ``ValueError`` as ``parametrize_``, before anything has changed.
    """
    return parametrize_(model, PrunedWeight)


def prune_(model: nn.Module, keep: float, scope: str = "global") -> nn.Module:
    """Keep the fraction ``keep`` of all weights of a prunable model, by magnitude, in place; return ``model``.

    The weights stay as they are, only masks change; see ``magnitude_masks``, which it raises ``ValueError`` like.
    """
    places = {place.parametrization: place for place in parametrized_places(model, PrunedWeight)}
    weights = {place.name: place.original for place in places.values()}
    masks = {place.name: cast(PrunedWeight, pruned).mask for pruned, place in places.items()}
    for name, mask in magnitude_masks(weights, masks, keep, scope).items():
        masks[name].copy_(mask)
    return model


def magnitude_masks(
    weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], keep: float, scope: str
) -> dict[str, Tensor]:
    """Masks that keep exactly ``round(keep * n)`` of n weights: the largest in magnitude of those kept so far.

    n counts all weights, pruned ones too, which never return; of equal magnitudes the first are kept.

    weights, masks: name -> weight, and name -> its mask so far (bool or 0 and 1), of the same shape.
    scope: n counts the weights of each ``tensor``, or of all together (``global``).

    Returns name -> mask: bool, of the weight's shape. Raises ``ValueError`` where keep, scope, names or shapes are
    wrong, weights are not finite, or more are to be kept than are left.
    """
    _check(weights, masks, keep, scope)
    pruned: dict[str, Tensor] = {}
    for names in [list(weights)] if scope == "global" else [[name] for name in weights]:
        # Below every magnitude, so that a weight of 0 that was kept still precedes one that was pruned.
        ranked = [weights[name].detach().abs().masked_fill(~masks[name].bool(), -1) for name in names]
        where = "" if scope == "global" else f" of {names[0]}"
        pruned.update(zip(names, as_one(ranked, partial(_largest, keep=keep, where=where))))
    return pruned


def _largest(magnitudes: Tensor, keep: float, where: str) -> Tensor:
    k, left = kept_count(keep, len(magnitudes)), int((magnitudes >= 0).sum())
    if k > left:
        raise ValueError(
            f"keep {keep} is {k:,} of {len(magnitudes):,} weights{where}, but {left:,} are left: keep fewer"
        )
    return select_(torch.empty_like(magnitudes), magnitudes, k, magnitude=False).bool()


def fold_pruned_(model: nn.Module) -> nn.Module:
    """Replace pruned weights by plain dense parameters, zero where pruned, in place; return ``model``. Ties are kept.

    A model without pruned weights is returned as it is.
    """
    return fold_parametrized_(model, PrunedWeight)


def count_kept(model: nn.Module) -> tuple[int, int]:
    """How many weights of a prunable model are kept, and how many it has; tied ones count once."""
    pruned = {place.parametrization for place in parametrized_places(model, PrunedWeight)}
    masks = [cast(PrunedWeight, each).mask for each in pruned]
    return sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)


def pruned_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """``(name, module)`` of every module whose weight has a mask, tied modules included."""
    return parametrized_modules(model, PrunedWeight)


def pruned_weight(module: nn.Module, tensor: str = "weight") -> PrunedWeight:
    """The parametrization of such a module's tensor."""
    return cast(PrunedWeight, parametrization_of(module, tensor))


def _check(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], keep: float, scope: str) -> None:
    if scope not in SCOPES:
        raise ValueError(f"scope {scope}: unknown; choose one of: {', '.join(SCOPES)}")
    if not 0 < keep <= 1:
        raise ValueError(f"keep must be in (0, 1], not {keep}")
    if not weights:
        raise ValueError("there are no weights to prune")
    if weights.keys() != masks.keys():
        raise ValueError(f"weights and masks differ in {', '.join(sorted(weights.keys() ^ masks.keys()))}")
    for name, weight in weights.items():
        if weight.shape != masks[name].shape:
            raise ValueError(f"{name}: a weight of shape {tuple(weight.shape)}, a mask of {tuple(masks[name].shape)}")
        if not torch.isfinite(weight).all():
            raise ValueError(f"{name}: its weights are not finite")
