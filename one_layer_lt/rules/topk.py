"""topk: keep the weights whose scores are largest in value."""

from __future__ import annotations

from dataclasses import dataclass

from .ranked import RankedRule


@dataclass
class TopK(RankedRule):
    """Top-k of the score itself; gradient ``g * w``: straight through the selection."""

    magnitude = False
    fusable = True
