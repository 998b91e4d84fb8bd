"""Convert any model in place: ``mask_`` to random weights under learned masks, ``fold_`` back to dense tensors."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Callable, cast

import torch
from torch import nn
from torch.nn.utils import parametrize

from .config import MaskConfig
from .layout import Layout
from .parametrization import MaskedWeight, initial_scores
from .rules import RULES, Member
from .rules.iterand import IteRand
from .scope import Together
from .sharing import MASK_TOO, share_key, share_period
from .weights import EXISTING, SharedWeight

logger = logging.getLogger(__name__)

MASKABLE = (nn.Linear, nn.Embedding, nn.Conv2d)
Configure = Callable[[str, nn.Module], "MaskConfig | None"]


@dataclass
class _Group:
    """Modules that use one weight tensor: usually one module, more when tied."""

    name: str
    config: MaskConfig
    modules: list[nn.Module]


def mask_(
    model: nn.Module,
    config: MaskConfig,
    *,
    configure: Configure | None = None,
    trainable: Collection[str] = (),
) -> nn.Module:
    """Convert every ``nn.Linear``, ``nn.Embedding`` and ``nn.Conv2d`` of ``model`` in place, and return it.

    Each weight becomes ``mask(scores) * random_weight``; the scores are the parameter
    ``parametrizations.weight.original``, of the weight's shape. Biases of converted modules become zero, unless the
    weights are ``existing`` ones. Afterwards only scores are trainable, and those other parameters whose full name
    matches a shell-style pattern in ``trainable``. Modules whose weights are tied stay tied.

    configure: ``(name, module) -> MaskConfig`` for that module, or None to leave it as it is; default: ``config``
        for all.

    Raises ``ValueError``, before anything has changed, when nothing would be converted, a weight is already masked,
    tied modules are configured differently, a weight does not divide into the tiles asked for, or a pattern of
    ``trainable`` matches no parameter that stays dense.
    """
    groups = _plan(model, config, configure)
    masked = [module.get_parameter("weight") for group in groups for module in group.modules]
    trained = _matching(model, trainable, besides=masked)

    shared: dict[tuple[object, ...], SharedWeight] = {}
    together: dict[tuple[object, ...], Together] = {}
    for group in groups:
        _convert(group, shared, together)

    trained |= {scores_of(module) for _, module in masked_modules(model)}
    for parameter in model.parameters():
        parameter.requires_grad_(parameter in trained)
    logger.info("masked %d tensors over %d random weights", len(groups), len(shared))
    return model


def fold_(model: nn.Module) -> nn.Module:
    """Replace masked weights by plain dense, frozen parameters in place, and return ``model``. Ties are kept.

    A model without masked weights is returned as it is.
    """
    folded: dict[nn.Parameter, nn.Parameter] = {}
    found = list(masked_modules(model))
    for _, module in found:
        masked_weight(module).forget_all()
    with torch.no_grad():
        for _, module in found:
            scores = scores_of(module)
            if scores not in folded:
                value = masked_weight(module).effective(scores, training=False)
                folded[scores] = nn.Parameter(value, requires_grad=False)
    for _, module in found:
        scores = scores_of(module)
        unparametrize_(module)
        module.weight = folded[scores]
    return model


def unparametrize_(module: nn.Module) -> None:
    """torch's own way to remove a parametrization takes it from the copies of a module, too: they share a class."""
    if list(cast(nn.ModuleDict, module.parametrizations)) != ["weight"]:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        return
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]


def advance_(model: nn.Module, update: int) -> None:
    """Say that ``update`` updates were made, in place: for rules with a schedule, call it before each one.

    fairseq's trainer does so by itself. A second call for the same update does nothing.
    """
    members: dict[tuple[object, ...], dict[nn.Parameter, Member]] = {}
    for _, module in masked_modules(model):
        masked, scores = masked_weight(module), scores_of(module)
        masked.rule.at.update = update
        if masked.rule.at.advanced != update:
            kind = (masked.config.rule, masked.config.keep, masked.config.options)
            members.setdefault(kind, {})[scores] = (masked, scores)
    for alike in members.values():
        group = list(alike.values())
        group[0][0].rule.advance(group, update)
        for masked, _ in group:
            masked.rule.at.advanced = update


def masked_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """``(name, module)`` of every module whose weight is masked, tied modules included."""
    for name, module in model.named_modules():
        if _is_masked(module):
            yield name, module


def masked_weight(module: nn.Module) -> MaskedWeight:
    """The parametrization of a masked module."""
    return cast(MaskedWeight, module.get_submodule("parametrizations.weight.0"))


def scores_of(module: nn.Module) -> nn.Parameter:
    """The trained scores of a masked module: a parameter of its weight's shape."""
    return module.get_parameter("parametrizations.weight.original")


def _is_masked(module: nn.Module) -> bool:
    return parametrize.is_parametrized(module, "weight") and isinstance(masked_weight(module), MaskedWeight)


def _plan(model: nn.Module, config: MaskConfig, configure: Configure | None) -> list[_Group]:
    groups: dict[nn.Parameter, _Group] = {}
    for name, module in model.named_modules():
        if not isinstance(module, MASKABLE):
            continue
        chosen = config if configure is None else configure(name, module)
        if chosen is None:
            continue
        if parametrize.is_parametrized(module, "weight"):
            raise ValueError(f"{name}.weight is already parametrized; mask_ a model once, and fold_ it first")
        group = groups.setdefault(module.get_parameter("weight"), _Group(name, chosen, []))
        if chosen != group.config:
            raise ValueError(f"{name} and {group.name} are tied: configure both alike")
        group.modules.append(module)
    if not groups:
        raise ValueError("nothing to mask: the model has no Linear, Embedding or Conv2d that was selected")
    for parameter, group in groups.items():
        Layout(group.config, tuple(parameter.shape), group.name)  # raises for a weight that it does not fit
    for name, module in model.named_modules():
        for attribute, parameter in module.named_parameters(recurse=False):
            tied = groups.get(parameter)
            if tied and (attribute != "weight" or module not in tied.modules):
                raise ValueError(f"{name}.{attribute} is tied to {tied.name}.weight: it would stay dense and trained")
    return _merged(groups)


def _merged(groups: dict[nn.Parameter, _Group]) -> list[_Group]:
    """The groups, those of a share that includes the mask made one."""
    merged: dict[object, _Group] = {}
    for parameter, group in groups.items():
        key: object = group.name
        if group.config.share == MASK_TOO:
            key = (share_key(group.name, tuple(parameter.shape), MASK_TOO), group.config)
        if key in merged:
            merged[key].modules.extend(group.modules)
        else:
            merged[key] = group
    return list(merged.values())


def _matching(model: nn.Module, patterns: Collection[str], besides: list[nn.Parameter]) -> set[nn.Parameter]:
    """The parameters that stay dense and have a name, of several where tied, that matches one of ``patterns``."""
    masked, matching = set(besides), set()
    for pattern in patterns:
        named = model.named_parameters(remove_duplicate=False)
        found = {parameter for name, parameter in named if fnmatchcase(name, pattern)} - masked
        if not found:
            raise ValueError(f"trainable: no parameter that stays dense is called {pattern!r}")
        matching |= found
    return matching


def _convert(
    group: _Group, shared: dict[tuple[object, ...], SharedWeight], together: dict[tuple[object, ...], Together]
) -> None:
    weight = group.modules[0].get_parameter("weight")
    config, shape = group.config, tuple(weight.shape)
    if config.init == EXISTING:
        frozen = shared[group.name,] = SharedWeight.of(weight, name=group.name)
    else:
        name = share_key(group.name, shape, config.share)
        redrawn = issubclass(RULES[config.rule], IteRand)
        key = (name, shape, config.seed, config.init, config.weight_scale, redrawn, weight.dtype, weight.device)
        if key not in shared:
            shared[key] = SharedWeight(
                shape,
                config.init,
                seed=config.seed,
                name=name,
                scale=config.weight_scale,
                period=share_period(config.share),
                redrawn=redrawn,
            ).to(device=weight.device, dtype=weight.dtype)
        frozen = shared[key]
    masked = MaskedWeight(frozen, config, group.name)
    scores = nn.Parameter(initial_scores(shape, config, group.name).to(weight))
    for module in group.modules:
        module.weight = scores
        parametrize.register_parametrization(module, "weight", masked, unsafe=True)
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter) and config.init != EXISTING:
            nn.init.zeros_(bias)
    if config.is_global:
        ranked = (config.rule, config.keep, config.options)
        together.setdefault(ranked, Together()).add(masked, group.modules[0])
