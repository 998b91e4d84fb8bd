"""Parametrizations over trained weights, which act in training and are folded before generation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from .convert import MASKABLE, unparametrize_


def parametrize_(model: nn.Module, new: Callable[[Tensor], nn.Module]) -> nn.Module:
    """Put the weight of every ``nn.Linear``, ``nn.Embedding`` and ``nn.Conv2d`` under ``new(weight)``, in place.

    The weights are ``parametrizations.weight.original`` then, the same parameters as before. Modules whose weights are
    tied stay tied, and share the parametrization. Returns ``model``.

    Raises ``ValueError``, before anything has changed, when there is no such weight, one is parametrized already, or
    one is tied to a parameter that would stay as it is.
    """
    for weight, modules in _tied_modules(model).items():
        parametrization = new(weight)
        for module in modules:
            parametrize.register_parametrization(module, "weight", parametrization, unsafe=True)
    return model


def parametrized_modules(model: nn.Module, kind: type[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """``(name, module)`` of every module whose weight is under a parametrization of ``kind``, tied modules included."""
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module, "weight") and isinstance(parametrization_of(module), kind):
            yield name, module


def parametrization_of(module: nn.Module) -> nn.Module:
    """The parametrization of such a module."""
    return module.get_submodule("parametrizations.weight.0")


def trained_weight(module: nn.Module) -> nn.Parameter:
    """The weight of such a module as it is trained, without its parametrization."""
    return module.get_parameter("parametrizations.weight.original")


def fold_parametrized_(model: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """Replace weights under ``kind`` by the plain dense parameters that they amount to, in place; return ``model``.

    Ties are kept. A model without such weights is returned as it is.
    """
    folded: dict[nn.Parameter, nn.Parameter] = {}
    for _, module in list(parametrized_modules(model, kind)):
        weight = trained_weight(module)
        if weight not in folded:
            value = cast(Tensor, parametrization_of(module)(weight.detach()))
            folded[weight] = nn.Parameter(value, requires_grad=weight.requires_grad)
        unparametrize_(module)
        module.weight = folded[weight]
    return model


def _tied_modules(model: nn.Module) -> dict[nn.Parameter, list[nn.Module]]:
    """Weight -> the modules that use it: usually one."""
    tied: dict[nn.Parameter, list[nn.Module]] = {}
    for name, module in model.named_modules():
        if isinstance(module, MASKABLE):
            if parametrize.is_parametrized(module, "weight"):
                raise ValueError(f"{name}.weight is already parametrized: fold it first")
            tied.setdefault(module.get_parameter("weight"), []).append(module)
    if not tied:
        raise ValueError("there are no weights: the model has no Linear, Embedding or Conv2d")
    for name, module in model.named_modules():
        for attribute, parameter in module.named_parameters(recurse=False):
            if parameter in tied and (attribute != "weight" or module not in tied[parameter]):
                raise ValueError(f"{name}.{attribute} is tied to a weight of another module, and would stay dense")
    return tied
