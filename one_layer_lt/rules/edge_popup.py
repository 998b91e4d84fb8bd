"""edge-popup: keep the weights whose scores are largest in magnitude."""

from __future__ import annotations

from .straight_through import TopKRule


class EdgePopup(TopKRule):
    """Top-k of |score|; gradient ``g * w * sign(score)`` (Ramanujan et al. 2019, arXiv 1911.13299, section 3).

    At a score of zero the sign is that of the zero, so that its gradient does not vanish.
    """

    magnitude = True
