"""Controls: a ticket with one thing of its masks destroyed. What it then loses is what that thing was worth.

    control = CONTROLS["shuffled"](ticket, 1)   # a ticket; of a masked model: Ticket.of(model)
    control.model()

Sources: shuffling masks within layers, and new weights under old masks: Frankle et al. 2021 (arXiv 2009.08576, section
5), Su et al. 2020 (arXiv 2009.11094, section 3), Ma et al. 2021 (arXiv 2107.00166).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..errors import UserError
from ..pruning import PrunedWeight, prunable_, pruned_modules, pruned_weight
from ..sharing import SHARES
from ..ticket import Ticket, WeightPool
from ..ticket.parts import Mask, WeightSpec
from ..ticket.planes import pack, unpack
from ..weights import draw_words

Values = npt.NDArray  # of the searched weights, flat: small integers


def shuffled(ticket: Ticket, seed: int) -> Ticket:
    """The values of each mask in another order: a random mask of the same counts of each value.

    With drop or lock only what is searched moves; the tiles of a mask stay alike, and so do modules that share it.
    """
    return _with_values(ticket, {mask.name: _shuffled(mask, seed, rows=False) for mask in ticket.masks})


def shuffled_in_rows(ticket: Ticket, seed: int) -> Ticket:
    """The same within each row, that is, each output unit, word or filter: it keeps as many of its inputs as before."""
    return _with_values(ticket, {mask.name: _shuffled(mask, seed, rows=True) for mask in ticket.masks})


def exchanged(ticket: Ticket, seed: int) -> Ticket:
    """Each mask in the place of another layer's over the same random weight: all move on around a circle.

    They move by one layer where the seed is 1, by two where it is 2, and so on; of n layers n - 1 such moves exist. A
    mask that has no counterpart in other layers stays. Raises ``UserError`` where all would, or where masks have
    patterns (drop, lock), of which each layer has its own.
    """
    if any(mask.layout.free is not None for mask in ticket.masks):
        raise UserError("each layer has a pattern of its own (drop, lock), so that its mask fits no other layer")
    layers: dict[tuple[object, ...], list[Mask]] = {}
    for mask in ticket.masks:
        layers.setdefault((mask.weight, mask.config, SHARES["layer"](mask.name)), []).append(mask)
    given: dict[str, Values] = {}
    for masks in (masks for masks in layers.values() if len(masks) > 1):
        by = 1 + (seed - 1) % (len(masks) - 1)
        given.update((mask.name, values_of(masks[at - by])) for at, mask in enumerate(masks))
    if not given:
        raise UserError("no two layers have masks over one random weight: none can take another's")
    return _with_values(ticket, given)


def reseeded(ticket: Ticket, seed: int) -> Ticket:
    """The masks over other random weights: those of the ticket's own seed plus ``seed``.

    Weights that were found, not drawn (init ``existing``), stay. Raises ``UserError`` where all were found.
    """
    others = {spec: _reseeded(spec, seed, ticket) for spec in ticket.weights if spec not in ticket.existing}
    if not others:
        raise UserError("its weights were not drawn from a seed (init existing), so that there are no others")
    masks = tuple(replace(mask, weight=others.get(mask.weight, mask.weight)) for mask in ticket.masks)
    redraws = {others[spec]: numbers for spec, numbers in ticket.redraws.items()}
    made = replace(ticket, masks=masks, redraws=redraws, card={})
    return _with_values(made, {mask.name: values_of(mask) for mask in made.masks if mask.scale is not None})


CONTROLS: dict[str, Callable[[Ticket, int], Ticket]] = {
    "shuffled": shuffled,
    "shuffled in rows": shuffled_in_rows,
    "other random weights": reseeded,
    "another layer's": exchanged,
}
"""By what a table calls them. Each takes a ticket, which stays as it is, and a seed above 0. The card is left out."""


def values_of(mask: Mask) -> Values:
    """The values of the searched weights of a mask, flat."""
    return mask.rule.from_planes([unpack(plane, length) for plane, length in zip(mask.planes, mask.lengths)])


def randomly_pruned(model: nn.Module, seed: int) -> nn.Module:
    """A copy of a model of ``pruning.prunable_`` whose masks are shuffled, each within its tensor: as many are kept.

    Raises ``ValueError`` where nothing is prunable.
    """
    made = copy.deepcopy(model)
    for name, pruned in _pruned(made).items():
        order = torch.from_numpy(_order([0] * pruned.mask.numel(), seed, name)).to(pruned.mask.device)
        pruned.mask.copy_(pruned.mask.flatten()[order].view_as(pruned.mask))
    return made


def reinitialised(model: nn.Module, initial: nn.Module) -> nn.Module:
    """A copy of ``initial``, whose weights are new, under the masks of ``model``, one of ``pruning.prunable_``.

    initial: of the same architecture, not prunable yet. (Rewound, the other case of Frankle & Carbin 2018, is what
    pruning itself makes.) Raises ``ValueError`` where the two differ in names or shapes of what is pruned.
    """
    made = prunable_(copy.deepcopy(initial))
    masks, places = _pruned(model), _pruned(made)
    for name in masks.keys() ^ places.keys():
        raise ValueError(f"{name} is prunable in one model alone: give two of one architecture")
    for name, place in places.items():
        if place.mask.shape != masks[name].mask.shape:
            shapes = f"{tuple(masks[name].mask.shape)} and {tuple(place.mask.shape)}"
            raise ValueError(f"{name} has the shapes {shapes}: give two models of one architecture")
        place.mask.copy_(masks[name].mask)
    return made


def _pruned(model: nn.Module) -> dict[str, PrunedWeight]:
    """By the first name of each."""
    found: dict[PrunedWeight, str] = {}
    for name, module in pruned_modules(model):
        found.setdefault(pruned_weight(module), name)
    if not found:
        raise ValueError("the model has no weights that can be pruned: call prunable_ on it")
    return {name: pruned for pruned, name in found.items()}


def _shuffled(mask: Mask, seed: int, rows: bool) -> Values:
    free = np.arange(mask.size) if mask.layout.free is None else mask.layout.free.numpy()
    return values_of(mask)[_order(free // math.prod(mask.layout.scores_shape[1:]) * rows, seed, mask.name)]


def _order(groups: npt.ArrayLike, seed: int, name: str) -> npt.NDArray[np.int64]:
    """A random order that leaves each element in its group; groups: their numbers, ascending. The same everywhere."""
    ascending = np.asarray(groups)
    return np.lexsort((draw_words(ascending.size, seed=seed, name=f"control:{name}"), ascending))


def _reseeded(spec: WeightSpec, seed: int, ticket: Ticket) -> WeightSpec:
    other = replace(spec, seed=spec.seed + seed)
    return replace(other, digest=other.drawn(ticket.redraws.get(spec)).digest())


def _with_values(ticket: Ticket, values: Mapping[str, Values]) -> Ticket:
    """The ticket with other values of the searched weights of some masks, by their names."""
    pool = WeightPool()
    masks = []
    for mask in ticket.masks:
        if mask.name in values:
            given, spec = values[mask.name], mask.weight
            if mask.scale is not None:
                drawn = None if spec in ticket.existing else pool.get(spec, ticket.redraws.get(spec))
                weight = ticket.existing[spec] if drawn is None else drawn
                scale = mask.rule.scale(mask.layout.cover(torch.from_numpy(given)), weight)
                mask = replace(mask, scale=None if scale is None else float(scale))
            mask = replace(mask, planes=tuple(pack(plane) for plane in mask.rule.to_planes(given)))
        masks.append(mask)
    return replace(ticket, masks=tuple(masks), card={})
