"""Sharing: which modules use one random weight, as a function from a module's name to a key."""

from __future__ import annotations

import re
from typing import Callable

from .weights import VECTOR


def _own(name: str) -> str:
    return name


def _across_layers(name: str) -> str:
    # The layers of a recurrent module differ in the tensor's name; one of a single layer keeps the name that it had.
    name = re.sub(r"((?:^|\.)weight_(?:ih|hh|hr)_l)\d+(?=(?:_reverse)?$)", r"\g<1>0", name)
    return re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", name)


def _across_stacks(name: str) -> str:
    return re.sub(r"(^|\.)(encoder|decoder)(?=\.)", r"\1*", _across_layers(name))


def _one(name: str) -> str:
    return "*"


MASK_TOO = "layer_mask"  # the share under which modules use one mask as well

SHARES: dict[str, Callable[[str], str]] = {
    "none": _own,
    "layer": _across_layers,
    MASK_TOO: _across_layers,
    "stack": _across_stacks,
    "vector": _one,
}


def share_key(name: str, shape: tuple[int, ...], share: str) -> str:
    """The key of the random weight that module ``name`` uses for a weight of ``shape``.

    ``none``: one for each module. ``layer``: one for a projection in all layers of a stack, so that
    ``encoder.layers.0.fc1`` and ``encoder.layers.5.fc1`` agree (Shen et al. 2021, arXiv 2109.03939, section 3), and so
    do ``lstm.weight_hh_l0`` and ``lstm.weight_hh_l1``, the two directions of a layer not.
    ``layer_mask``: the same, and they share one mask too. ``stack``: encoder and decoder also use one another's
    matching matrices. ``vector``: one random vector, repeated over every tensor, each scaled by its own fan.
    Modules of different shapes share only the vector. Raises ``KeyError`` for another ``share``.
    """
    key = SHARES[share](name)
    return key if share == "vector" else f"{key}[{'x'.join(map(str, shape))}]"


def share_period(share: str) -> int:
    """After how many elements a random weight repeats; 0: never."""
    return VECTOR if share == "vector" else 0
