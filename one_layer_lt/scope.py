"""Tensors whose scores are ranked together: one threshold for all."""

from __future__ import annotations

from torch import Tensor

from .maskable import Place
from .rules import MaskRule
from .selection import same_bits


class JointRanking:
    """The masks of several tensors under one keep ratio, found at once and kept until scores may have changed.

    ``members``: name of a masked tensor -> the place whose parameter is its scores.
    """

    def __init__(self) -> None:
        self.members: dict[str, Place] = {}
        self._masks: dict[str, Tensor] = {}
        self._key: tuple[object, ...] | None = None
        self._seen: dict[str, Tensor] = {}

    def mask(self, name: str, rule: MaskRule, training: bool) -> Tensor:
        """The mask of one member, whose rule it is, in the shape of its scores: a new tensor."""
        key = (training, rule.context.update if training else None, *self.version())
        scores = self.members[name].original.detach()
        if key != self._key or name not in self._masks or not (training or same_bits(self._seen[name], scores)):
            found = rule.selected_together(self._scores(), training)
            self._masks = dict(zip(self.members, found))
            self._key = key
            if not training:  # which may see scores change through .data
                self._seen = {member: place.original.detach().clone() for member, place in self.members.items()}
        # A copy, for it is written into; and once only: optimisers change scores without a trace.
        mask = self._masks.pop(name).clone()
        if not self._masks:
            self.forget()
        return mask

    def version(self) -> list[object]:
        """What changes with the scores of any member."""
        return [(scores.data_ptr(), scores._version, scores.dtype) for scores in self._scores()]

    def _scores(self) -> list[Tensor]:
        return [place.original for place in self.members.values()]

    def forget(self) -> None:
        """Find the masks anew: optimisers may change scores without a trace."""
        self._masks, self._key, self._seen = {}, None, {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_masks": {}, "_key": None, "_seen": {}}
