"""Mask rules: how scores become a mask, and how gradient reaches the scores. One file a rule."""

from __future__ import annotations

from .base import MaskRule
from .edge_popup import EdgePopup
from .topk import TopK

RULES: dict[str, type[MaskRule]] = {"edge_popup": EdgePopup, "topk": TopK}

__all__ = ["RULES", "EdgePopup", "MaskRule", "TopK"]
