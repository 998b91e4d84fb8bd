"""Random weights in memory, each drawn and checked once, however many tickets name it."""

from __future__ import annotations

from torch import Tensor

from ..weights import SharedWeight
from .parts import TicketError, WeightSpec, refusing


class WeightPool:
    """Draws random weights on demand and keeps them: float32, on CPU, frozen.

    Hand one pool to several tickets, and those that name the same seed and shapes share one copy.
    """

    def __init__(self) -> None:
        self._drawn: dict[tuple[object, ...], SharedWeight] = {}
        self._digests: dict[tuple[object, ...], str] = {}

    def get(self, spec: WeightSpec, redraws: Tensor | None = None) -> Tensor:
        """The random weight that ``spec`` names, with the ``redraws`` that a ticket lists.

        Raises ``TicketError`` where this platform draws another one.
        """
        key: tuple[object, ...] = (spec.name, spec.shape, spec.init, spec.seed, spec.scale, spec.period)
        if redraws is not None:
            key = (*key, spec.digest)
        if key not in self._drawn:
            with refusing():
                drawn = spec.drawn(redraws)
                self._drawn[key], self._digests[key] = drawn, drawn.digest()
        if self._digests[key] != spec.digest:
            raise TicketError(
                f"the random weight {spec.name} does not come out as it was (digest {self._digests[key][:12]}..., not "
                f"{spec.digest[:12]}...): use the version and the platform that wrote the ticket"
            )
        return self._drawn[key].weight

    def __len__(self) -> int:
        return len(self._drawn)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the weights take."""
        return sum(4 * shared.weight.numel() for shared in self._drawn.values())
