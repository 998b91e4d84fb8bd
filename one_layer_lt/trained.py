"""Parametrizations over trained weights, which act in training and are folded before generation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable, cast

from torch import Tensor, nn

from .maskable import WEIGHT, Place, maskable_places, parametrized_places, replace_, tied_places


def parametrize_(model: nn.Module, new: Callable[[Tensor], nn.Module]) -> nn.Module:
    """Put every weight of ``model`` that a mask could cover under ``new(weight)``, in place.

    The weights are ``parametrizations.weight.original`` then, the same parameters as before. Modules whose weights are
    tied stay tied, and share the parametrization. Returns ``model``.

    Raises ``ValueError``, before anything has changed, when there is no such weight, one is parametrized already, or
    one is tied to a parameter that would stay as it is.
    """
    tied = tied_places(model, maskable_places(model))
    if not tied:
        raise ValueError("there are no weights: the model has no linear layer, embedding, convolution or the like")
    for weight, places in tied.items():
        parametrization = new(weight)
        for place in places:
            place.parametrize_(parametrization)
    return model


def parametrized_modules(model: nn.Module, kind: type[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """``(name, module)`` of every weight under a parametrization of ``kind``, tied ones each time."""
    for place in parametrized_places(model, kind):
        yield place.name, place.module


def parametrization_of(module: nn.Module, tensor: str = WEIGHT) -> nn.Module:
    """The parametrization of such a module's tensor."""
    return Place("", module, tensor).parametrization


def trained_weight(module: nn.Module, tensor: str = WEIGHT) -> nn.Parameter:
    """The tensor of such a module as it is trained, without its parametrization."""
    return Place("", module, tensor).original


def fold_parametrized_(model: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """Replace weights under ``kind`` by the plain dense parameters that they amount to, in place; return ``model``.

    Ties are kept. A model without such weights is returned as it is. Raises ``ValueError``, before anything has
    changed, where one is under a second parametrization.
    """
    for place in parametrized_places(model, kind):
        place.check_alone()
    folded: dict[nn.Parameter, nn.Parameter] = {}
    found = {place: place.original for place in parametrized_places(model, kind)}
    for place, weight in found.items():
        if weight not in folded:
            value = cast(Tensor, place.parametrization(weight.detach()))
            folded[weight] = nn.Parameter(value, requires_grad=weight.requires_grad)
    replace_({place: folded[weight] for place, weight in found.items()})
    return model
