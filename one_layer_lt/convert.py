"""Convert any model in place: ``mask_`` to random weights under learned masks, ``fold_`` back to dense tensors."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Callable

import torch
from torch import nn

from .config import MaskConfig
from .layout import Layout, check_kept
from .maskable import WEIGHT, Place, maskable_places, parametrized_places, replace_, tied_places
from .parametrization import MaskedWeight, initial_scores, masked_at
from .record import KEY
from .rules import RULES, Member
from .scope import JointRanking
from .sharing import MASK_TOO, share_key, share_period
from .weights import EXISTING, SharedWeight

logger = logging.getLogger(__name__)

Configure = Callable[[str, nn.Module], "MaskConfig | None"]
_NAMED = 5  # tensors in a warning
PADDING = "the padding row"  # a warning begins with it


@dataclass
class _Group:
    """Places that use one weight tensor: usually one, more when tied."""

    name: str
    config: MaskConfig
    places: list[Place]

    @property
    def weight(self) -> nn.Parameter:
        return self.places[0].original


def mask_(
    model: nn.Module,
    config: MaskConfig | None = None,
    *,
    configure: Configure | None = None,
    trainable: Collection[str] = (),
) -> nn.Module:
    """Convert the weights of ``model`` in place, and return it.

    Converted are those of linear and bilinear layers, embeddings, convolutions of any dimension, attention
    (``nn.MultiheadAttention``) and recurrent layers: ``maskable.MASKABLE``, to which classes of one's own may be added.
    Each becomes ``mask(scores) * random_weight``; the scores are the parameter ``parametrizations.weight.original`` (or
    another name than ``weight``, where the module has), of the weight's shape. Biases of converted modules become zero,
    unless the weights are ``existing`` ones. Afterwards only scores are trainable, and those other parameters whose
    full name matches a shell-style pattern in ``trainable``. Modules whose weights are tied stay tied. One warning
    names the matrices that stay dense because their modules are of no known class, another the embeddings whose padding
    row is no longer zero: a mask covers it as any other, for where the embedding is the output projection, too, the row
    is a word's logit. So let the model itself pass over padding, as those with a padding mask do.

    config: for all modules; or configure: ``(name, module) -> MaskConfig`` for that module, or None to leave it as it
        is.

    The fan of a random weight is that of its shape (out, in, *kernel), as torch's own initialisations have it, for
    transposed convolutions, too.

    Raises ``ValueError``, before anything has changed, when not just one of config and configure is given, nothing
    would be converted, a weight is already parametrized or has no shape yet, tied modules are configured differently,
    a weight does not divide into the tiles asked for, a mask would keep no weight, or a pattern of ``trainable``
    matches no parameter that stays dense.
    """
    if (config is None) == (configure is None):
        raise ValueError("give mask_ either a config for all modules, or configure, which gives each module its own")
    groups = _plan(model, configure or (lambda name, module: config))
    masked = [place.original for group in groups for place in group.places]
    trained = _matching(model, trainable, besides=masked)

    shared: dict[tuple[object, ...], SharedWeight] = {}
    together: dict[tuple[object, ...], JointRanking] = {}
    for group in groups:
        _convert(group, shared, together)

    _warn_of_padding(groups)
    _warn_of_the_rest(model, trained)
    trained |= {place.original for place in masked_places(model)}
    for parameter in model.parameters():
        parameter.requires_grad_(parameter in trained)
    model.register_load_state_dict_pre_hook(_check_records)
    model.register_state_dict_pre_hook(_check_weights)
    logger.info("masked %d tensors over %d random weights", len(groups), len(shared))
    return model


def _check_records(model: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Refuse scores of other weights before any are loaded."""
    for place in masked_places(model):
        record = state_dict.get(f"{prefix}{place.module_prefix}parametrizations.{place.tensor}.0.{KEY}")
        if record is not None:
            masked_at(place).check_record(record)


def _check_weights(model: nn.Module, *_: Any) -> None:
    """Refuse to save scores that were trained over random weights which nobody will draw again."""
    for shared in {masked_at(place).shared for place in masked_places(model)}:
        if shared.init != EXISTING and shared.weight.device.type != "meta":
            shared.drawn_anew()


def fold_(model: nn.Module) -> nn.Module:
    """Replace masked weights by plain dense, frozen parameters in place, and return ``model``. Ties are kept.

    A model without masked weights is returned as it is. Raises ``ValueError`` as ``check_whole``.
    """
    check_whole(model)
    folded: dict[nn.Parameter, nn.Parameter] = {}
    found = {place: place.original for place in masked_places(model)}
    for place in found:
        masked_at(place).forget_all()
    with torch.no_grad():
        for place, scores in found.items():
            if scores not in folded:
                value = masked_at(place).effective(scores, training=False)
                folded[scores] = nn.Parameter(value, requires_grad=False)
    replace_({place: folded[scores] for place, scores in found.items()})
    return model


def check_whole(model: nn.Module) -> None:
    """Raises ``ValueError`` where a masked weight is not what its scores and its random weight give.

    So it is under a second parametrization (spectral norm, say), which a ticket cannot hold; and where modules that
    were tied under one mask have scores of their own now, as after ``load_state_dict(assign=True)``. Warns once of a
    schedule that training has not followed, for want of ``set_update_``.
    """
    tied: dict[MaskedWeight, Place] = {}
    for place in masked_places(model):
        place.check_alone()
        first = tied.setdefault(masked_at(place), place)
        if first.original is not place.original:
            raise ValueError(
                f"{place.path} and {first.path} had one mask, and have scores of their own now, as after "
                "load_state_dict(assign=True): load without it"
            )
    untold = [masked for masked in tied if masked.rule.context.untold and masked.rule.is_scheduled]
    if untold:
        rule = untold[0].config.rule
        warnings.warn(
            f"the rule {rule} has a schedule that never began: call set_update_(model, update) before each update",
            stacklevel=3,
        )
    for masked in untold:
        masked.rule.context.untold = False


def set_update_(model: nn.Module, update: int) -> None:
    """Say that ``update`` updates were made, in place: for rules with a schedule, call it before each one.

    fairseq's trainer does so by itself. A second call for the same update does nothing.
    """
    members: dict[tuple[object, ...], dict[nn.Parameter, MaskedWeight]] = {}
    for place in masked_places(model):
        masked, scores = masked_at(place), place.original
        masked.rule.context.update, masked.rule.context.untold = update, False
        if masked.rule.context.advanced != update:
            kind = (masked.config.rule, masked.config.keep, masked.config.options)
            members.setdefault(kind, {})[scores] = masked
    for alike in members.values():
        group: list[Member] = [(masked, scores) for scores, masked in alike.items()]
        next(iter(alike.values())).rule.advance(group, update)
        for masked in alike.values():
            masked.rule.context.advanced = update


def masked_places(model: nn.Module) -> Iterator[Place]:
    """Every masked tensor of ``model``, tied ones each time; its ``original`` is the scores."""
    return parametrized_places(model, MaskedWeight)


def masked_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """``(name, module)`` of every module with a masked tensor, tied modules included."""
    seen: set[str] = set()
    for place in masked_places(model):
        if place.module_name not in seen:
            seen.add(place.module_name)
            yield place.module_name, place.module


def parametrization_of(module: nn.Module, tensor: str = WEIGHT) -> MaskedWeight:
    """The parametrization of a masked tensor of a module."""
    return masked_at(Place("", module, tensor))


def scores_of(module: nn.Module, tensor: str = WEIGHT) -> nn.Parameter:
    """The trained scores behind a masked tensor of a module: a parameter of its shape."""
    return module.get_parameter(f"parametrizations.{tensor}.original")


def _plan(model: nn.Module, configure: Configure) -> list[_Group]:
    chosen = {place: configure(place.module_name, place.module) for place in maskable_places(model)}
    groups: dict[nn.Parameter, _Group] = {}
    for parameter, places in tied_places(model, [place for place, config in chosen.items() if config]).items():
        first, config = places[0], chosen[places[0]]
        assert config is not None
        for other in places[1:]:
            if chosen[other] != config:
                raise ValueError(f"{other.module_name} and {first.module_name} are tied: configure both alike")
        groups[parameter] = _Group(first.name, config, places)
    if not groups:
        raise ValueError("nothing to mask: the model has no linear layer, embedding, convolution or the like to mask")
    planned = _merged(groups)
    check_kept(Layout(group.config, tuple(group.weight.shape), group.name) for group in planned)
    return planned


def _merged(groups: dict[nn.Parameter, _Group]) -> list[_Group]:
    """The groups, those of a share that includes the mask made one."""
    merged: dict[object, _Group] = {}
    for parameter, group in groups.items():
        key: object = group.name
        if group.config.share == MASK_TOO:
            key = (share_key(group.name, tuple(parameter.shape), MASK_TOO), group.config)
        if key in merged:
            merged[key].places.extend(group.places)
        else:
            merged[key] = group
    return list(merged.values())


def _warn_of_padding(groups: list[_Group]) -> None:
    """Name the embeddings whose padding row was zero, and is not any more."""
    rows = {
        place.name: place.module.padding_idx
        for group in groups
        for place in group.places
        if group.config.init != EXISTING and getattr(place.module, "padding_idx", None) is not None
    }
    if rows:
        named = ", ".join(f"{name} (row {row})" for name, row in rows.items())
        warnings.warn(f"{PADDING} of {named} is not zero under a mask: let the model pass over padding", stacklevel=3)


def _warn_of_the_rest(model: nn.Module, trained: Collection[nn.Parameter]) -> None:
    """Name the matrices that nobody masks, trains or has chosen to leave."""
    known = {parameter for place in maskable_places(model) for parameter in place.module.parameters()}
    rest = [
        f"{name} {tuple(parameter.shape)}"
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1 and parameter not in known and parameter not in trained
    ]
    if rest:
        more = f" and {len(rest) - _NAMED} more" if len(rest) > _NAMED else ""
        logger.warning(
            "mask_ leaves %s%s dense and frozen as they are: name them in trainable, or add their class to "
            "one_layer_lt.maskable.MASKABLE",
            ", ".join(rest[:_NAMED]),
            more,
        )


def _matching(model: nn.Module, patterns: Collection[str], besides: list[nn.Parameter]) -> set[nn.Parameter]:
    """The parameters that stay dense and have a name, of several where tied, that matches one of ``patterns``."""
    masked, matching = set(besides), set()
    for pattern in patterns:
        named = model.named_parameters(remove_duplicate=False)
        found = {parameter for name, parameter in named if fnmatchcase(name, pattern)} - masked
        if not found:
            raise ValueError(
                f"trainable: {pattern!r} is the name of no parameter that stays dense; see named_parameters()"
            )
        matching |= found
    return matching


def _convert(
    group: _Group, shared: dict[tuple[object, ...], SharedWeight], together: dict[tuple[object, ...], JointRanking]
) -> None:
    weight = group.weight
    config, shape = group.config, tuple(weight.shape)
    if config.init == EXISTING:
        frozen = shared[group.name,] = SharedWeight.of(weight, name=group.name)
    else:
        name = share_key(group.name, shape, config.share)
        redrawn = RULES[config.rule].redraws
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
    for place in group.places:
        place.put(scores)
        place.parametrize_(masked)
        if config.init != EXISTING:
            for attribute, bias in place.module.named_parameters(recurse=False):
                if "bias" in attribute and bias.dim() == 1:
                    nn.init.zeros_(bias)
    if config.is_global:
        ranked = (config.rule, config.keep, config.options)
        masked.joint = together.setdefault(ranked, JointRanking())
        masked.joint.members[masked.name] = group.places[0]
