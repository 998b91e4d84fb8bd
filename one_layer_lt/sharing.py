"""Sharing: which modules use one random weight, as a function from a module's name to a key."""

from __future__ import annotations

import re
from typing import Callable


def _own(name: str) -> str:
    return name


def _across_layers(name: str) -> str:
    return re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", name)


SHARES: dict[str, Callable[[str], str]] = {"none": _own, "layer": _across_layers}


def share_key(name: str, shape: tuple[int, ...], share: str) -> str:
    """The key of the random weight that module ``name`` uses for a weight of ``shape``.

    ``none``: one for each module. ``layer``: one for a projection in all layers of a stack, so that
    ``encoder.layers.0.fc1`` and ``encoder.layers.5.fc1`` agree (Shen et al. 2021, arXiv 2109.03939, section 3).
    Modules of different shapes never share. Raises ``KeyError`` for another ``share``.
    """
    return f"{SHARES[share](name)}[{'x'.join(map(str, shape))}]"
