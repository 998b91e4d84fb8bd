"""How alike masks are: those of layers that share a random weight, or those of two tickets; and what heads keep."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..errors import UserError
from ..report.masks import chosen, overlap, overlaps
from ..ticket import Ticket
from ..ticket.parts import Mask

FIGURES = ("overlap", "overlap by chance", "same sign", "same sign by chance")
"""Of two masks. The first two: Jaccard's index, and what masks that keep as many would have if they were independent.
The others: of the weights that both keep, the share with the same sign in both, and the same by chance."""
Figures = dict[str, Any]
MOST = 1000  # masks to compare in pairs

_ATTENTION = re.compile(r"(encoder|decoder)\.layers\.\d+\.(?:self|encoder)_attn\.(q|k|v|out)_proj")


def pairs(ticket: Ticket) -> list[Figures]:
    """``FIGURES`` of every two masks over one random weight: its name is ``weight``, and theirs ``masks``.

    Raises ``UserError`` where more than ``MOST`` are over one.
    """
    for weight, users in Counter(mask.weight for mask in ticket.masks).items():
        if users > MOST:
            raise UserError(f"{users:,} masks are over {weight.name}, too many to compare in pairs: at most {MOST:,}")
    named = {mask.name: mask for mask in ticket.masks}
    found = []
    for shared in overlaps(ticket):
        for one, other in combinations(range(len(shared.names)), 2):
            names = [shared.names[one], shared.names[other]]
            figures = (shared.jaccard[one, other], shared.chance[one, other], *_signs(*(named[name] for name in names)))
            found.append({"weight": shared.weight, "masks": names, **_rounded(figures)})
    return found


def between(ticket: Ticket, other: Ticket) -> list[Figures]:
    """``FIGURES`` of each ``mask`` in two tickets, and ``weights``: whether its random weight is the same.

    Raises ``UserError`` where their masks differ in names or shapes.
    """
    ours, theirs = ({mask.name: mask for mask in each.masks} for each in (ticket, other))
    for name in [*ours, *theirs]:
        if name not in ours or name not in theirs or ours[name].weight.shape != theirs[name].weight.shape:
            raise UserError(f"the two tickets differ in the mask of {name}: give two of one architecture")
    found = []
    for name, mask in ours.items():
        both = overlap(mask.weight.name, [mask, theirs[name]])
        figures = (both.jaccard[0, 1], both.chance[0, 1], *_signs(mask, theirs[name]))
        found.append({"mask": name, "weights": mask.weight == theirs[name].weight, **_rounded(figures)})
    return found


def kept(ticket: Ticket) -> list[Figures]:
    """Of each ``mask`` the fraction ``kept``; in an attention, that of each head: ``heads``.

    The heads of a query, key or value are blocks of rows, those of the output are blocks of columns.
    """
    found = []
    for mask in ticket.masks:
        heads, sets = [], chosen(mask).reshape(mask.weight.shape[0], -1)
        if matched := _ATTENTION.fullmatch(mask.name):
            number, axis = ticket.architecture.get(f"{matched[1]}_attention_heads"), int(matched[2] == "out")
            if type(number) is int and 0 < number <= sets.shape[axis]:  # a stranger's may be anything
                heads = [float(part.mean()) for part in np.array_split(sets, number, axis)]
        found.append({"mask": mask.name, "kept": float(sets.mean()), "heads": heads})
    return found


def summaries(found: Sequence[Figures]) -> list[Figures]:
    """Of each random weight the mean figures of its ``pairs``, how many those are, and the least and most overlap."""
    made = []
    for weight in dict.fromkeys(pair["weight"] for pair in found):
        alike = [pair for pair in found if pair["weight"] == weight]
        made.append({"weight": weight, "pairs": len(alike)})
        for name in FIGURES:
            values = [pair[name] for pair in alike if pair[name] is not None]
            made[-1][name] = statistics.fmean(values) if values else None
        jaccard = [pair["overlap"] for pair in alike]
        made[-1] |= {"least": min(jaccard), "most": max(jaccard)}
    return made


def cells(figures: Figures) -> dict[str, str]:
    """Figures as cells of a table, by its columns; those that are missing are empty."""
    columns = ("weight", "mask", "pairs", "overlap", "least", "most", *FIGURES[1:])
    return {name: _shown(figures[name]) for name in columns if name in figures}


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _signs(one: Mask, other: Mask) -> tuple[float | None, float | None]:
    """The share of the same sign where both keep, and by chance; None where there are no signs to compare."""
    ours, theirs = (mask.values().numpy() for mask in (one, other))
    both = (ours != 0) & (theirs != 0)
    if not both.any() or not ((ours < 0).any() or (theirs < 0).any()):
        return None, None
    first, second = ((values > 0).sum() / (values != 0).sum() for values in (ours, theirs))
    chance = first * second + (1 - first) * (1 - second)
    return float(((ours > 0) == (theirs > 0))[both].mean()), float(chance)


def _rounded(figures: Sequence[Any]) -> Figures:
    return {name: None if value is None else round(float(value), 6) for name, value in zip(FIGURES, figures)}
