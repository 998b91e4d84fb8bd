"""edge_popup: keep the weights whose scores are largest in magnitude."""

from __future__ import annotations

from dataclasses import dataclass

from .ranked import RankedRule


@dataclass
class EdgePopup(RankedRule):
    """Top-k of |score|; gradient ``g * w * sign(score)`` (Ramanujan et al. 2019, arXiv 1911.13299, section 3).

    At a score of zero the sign is that of the zero, so that its gradient does not vanish.
    """

    magnitude = True
    fusable = True
