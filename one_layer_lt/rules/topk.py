"""topk: keep the weights whose scores are largest in value."""

from __future__ import annotations

from .straight_through import TopKRule


class TopK(TopKRule):
    """Top-k of the score itself; gradient ``g * w``: straight through the selection."""

    magnitude = False
