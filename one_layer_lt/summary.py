"""Count what a masked model is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from .convert import masked_places
from .parametrization import masked_at


@dataclass(frozen=True)
class Counted:
    """A tensor of a model. kind: ``masked``, ``trained`` or ``frozen``."""

    name: str
    shape: tuple[int, ...]
    kind: str
    numbers: int


@dataclass(frozen=True)
class Summary:
    """Numbers of a masked model; tied tensors count once. Printed, it is a table.

    random_weights: frozen random matrices. random_numbers: numbers in them.
    masks: masked tensors. scores: scores in them, one a weight.
    trained: trainable numbers that are not scores. frozen: numbers of parameters that are neither.
    tensors: each masked tensor and each other parameter.
    """

    random_weights: int
    random_numbers: int
    masks: int
    scores: int
    trained: int
    frozen: int
    tensors: tuple[Counted, ...]

    def __str__(self) -> str:
        lines = [f"{each.kind:8}{each.numbers:>14,}  {each.name} {list(each.shape)}" for each in self.tensors]
        lines.append(
            f"{self.random_weights} random weights of {self.random_numbers:,} numbers; {self.scores:,} scores in "
            f"{self.masks} masks; {self.trained:,} other numbers trained, {self.frozen:,} frozen"
        )
        return "\n".join(lines)


def summarize(model: nn.Module) -> Summary:
    """Count random weights, masks, scores, and other trained and frozen numbers of ``model``."""
    places = list(masked_places(model))
    shared = {id(masked_at(place).shared): masked_at(place).shared.weight for place in places}
    scores = {id(place.original): place.original for place in places}
    tensors = tuple(_tensors(model))
    numbers = {kind: sum(each.numbers for each in tensors if each.kind == kind) for kind in ("trained", "frozen")}
    return Summary(
        random_weights=len(shared),
        random_numbers=sum(weight.numel() for weight in shared.values()),
        masks=len(scores),
        scores=sum(tensor.numel() for tensor in scores.values()),
        **numbers,
        tensors=tensors,
    )


def _tensors(model: nn.Module) -> Iterator[Counted]:
    masked = {id(place.original): place for place in reversed(list(masked_places(model)))}
    for name, parameter in model.named_parameters():
        place = masked.get(id(parameter))
        kind = "masked" if place else "trained" if parameter.requires_grad else "frozen"
        yield Counted(place.path if place else name, tuple(parameter.shape), kind, parameter.numel())
