"""What a report shows of a ticket's masks: how much they keep, how far they overlap, and how one looks."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..optional import need
from ..sharing import SHARES
from ..ticket import Ticket
from ..ticket.parts import Mask

SIDE, PICTURES = 128, 6  # pixels, and how many
_COLOURS = ((0, 0, 0, 0), (63, 132, 222, 255), (22, 72, 150, 255), (224, 105, 47, 255))  # of 0, 1, more, and below 0
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Overlap:
    """Of masks over one random weight, pair by pair: |A and B| / |A or B|, and what chance would give.

    jaccard, chance: (masks, masks). Chance is that of masks that keep as many, independently of one another.
    """

    weight: str
    names: Sequence[str]
    jaccard: Floats
    chance: Floats

    def pairs(self, of: Floats) -> Floats:
        """The values of the pairs of different masks."""
        return np.asarray(of[np.triu_indices(len(self.names), 1)], dtype=np.float64)


def kind_of(name: str) -> str:
    """The name that a tensor has in every layer."""
    return SHARES["layer"](name)


def kept(ticket: Ticket) -> dict[str, dict[str, float]]:
    """The kept fraction by kind of tensor and number of its layer, which may be none."""
    found: dict[str, dict[str, float]] = {}
    for mask in ticket.masks:
        layer = ".".join(re.findall(r"(?:^|\.)(\d+)(?=\.|$)", mask.name))
        found.setdefault(kind_of(mask.name), {})[layer] = mask.kept_in_all / mask.weight.size
    return found


def overlaps(ticket: Ticket) -> Iterator[Overlap]:
    """Of each random weight that several masks share."""
    for weight, masks in _shared(ticket):
        if len(masks) > 1:
            yield overlap(weight, masks)


def overlap(weight: str, masks: Sequence[Mask]) -> Overlap:
    """Of masks of one shape."""
    sets = np.stack([chosen(mask).astype(np.float32) for mask in masks])
    both = (sets @ sets.T).astype(np.float64)
    each = np.diag(both)
    sums, random = each[:, None] + each, np.outer(each, each) / sets.shape[1]
    jaccard, chance = (part / np.maximum(sums - part, 1) for part in (both, random))
    return Overlap(weight, [mask.name for mask in masks], jaccard, chance)


def chosen(mask: Mask) -> npt.NDArray[np.bool_]:
    """Which weights a mask keeps, flat; of one that keeps all, such as one of signs, those that it leaves positive."""
    values = mask.values().numpy().ravel()
    return np.asarray(values != 0 if (values == 0).any() else values > 0)


def pictures(ticket: Ticket) -> Iterator[tuple[str, str]]:
    """(name, data URL of a PNG) of the first masks over one random weight: a pixel for each weight of a corner."""
    image: Any = need("PIL.Image", "plots")
    for mask in max((masks for _, masks in _shared(ticket)), key=len, default=[])[:PICTURES]:
        values = mask.values().numpy().reshape(mask.weight.shape[0], -1)[:SIDE, :SIDE]
        colours = np.where(values < 0, 3, np.minimum(values, 2)).astype(np.uint8)
        drawn, file = image.frombytes("P", colours.shape[::-1], colours.tobytes()), io.BytesIO()
        drawn.putpalette([part for colour in _COLOURS for part in colour], "RGBA")
        drawn.save(file, "PNG", optimize=True)
        yield mask.name, "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _shared(ticket: Ticket) -> list[tuple[str, list[Mask]]]:
    """The masks over each random weight, by its name."""
    return [(weight.name, [mask for mask in ticket.masks if mask.weight == weight]) for weight in ticket.weights]
