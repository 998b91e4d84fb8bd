"""How much a ticket may ask of its reader, by the size of its file. Why: docs/ticket-format.md, "Reading"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from .parts import Mask, TicketError, WeightSpec

ANY_FILE = 1 << 24  # weights that a file of whatever size may cover
A_BYTE = 1 << 10  # and for each of its bytes
_A_DRAW = 1 << 12  # weights that are drawn in the time that it takes to begin another draw


def check_asked(masks: Iterable[Mask], redraws: Mapping[WeightSpec, Tensor], size: int) -> None:
    """Raises ``TicketError`` where the masks of a file of ``size`` bytes cover more weights than it may.

    Random weights and patterns are drawn for masks alone, so that all work and memory is a few times what is counted
    here. ``masks`` may lack their planes; nothing is drawn.
    """
    asked = sum(mask.weight.size * (1 + len(mask.also)) for mask in masks)
    asked += sum(_A_DRAW * torch.unique(numbers).numel() for numbers in redraws.values())
    most = ANY_FILE + A_BYTE * size
    if asked > most:
        raise TicketError(f"asks for {asked:,} weights, and a file of {size:,} bytes may for {most:,}")
