"""Tensors whose scores are ranked together: one threshold for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from .maskable import Place

if TYPE_CHECKING:
    from .parametrization import MaskedWeight


class JointRanking:
    """The masks of several tensors under one keep ratio, found at once and kept until scores may have changed.

    ``members``: (masked weight, the place whose parameter is its scores).
    """

    def __init__(self) -> None:
        self.members: list[tuple[MaskedWeight, Place]] = []
        self._masks: dict[str, Tensor] = {}
        self._key: tuple[object, ...] | None = None

    def add(self, masked: MaskedWeight, place: Place) -> None:
        """Rank the tensor with the others."""
        masked.joint = self
        self.members.append((masked, place))

    def mask(self, masked: MaskedWeight, training: bool) -> Tensor:
        """The mask of one member, in the shape of its scores: a new tensor."""
        rule = masked.rule
        key = (training, rule.context.update if training else None, *self.version())
        if key != self._key or masked.name not in self._masks:
            found = rule.selected_together(self._scores(), training)
            self._masks = {member.name: mask for (member, _), mask in zip(self.members, found)}
            self._key = key
        # A copy, for it is written into; and once only: optimisers change scores without a trace.
        mask = self._masks.pop(masked.name).clone()
        if not self._masks:
            self.forget()
        return mask

    def version(self) -> list[object]:
        """What changes with the scores of any member."""
        return [(scores.data_ptr(), scores._version, scores.dtype) for scores in self._scores()]

    def _scores(self) -> list[Tensor]:
        return [place.original for _, place in self.members]

    def forget(self) -> None:
        """Find the masks anew: optimisers may change scores without a trace."""
        self._masks, self._key = {}, None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_masks": {}, "_key": None}
