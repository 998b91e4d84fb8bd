"""From a masked model to the parts of a ticket, and from those to a dense model that computes the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..convert import check_whole, masked_places
from ..maskable import WEIGHT
from ..parametrization import MaskedWeight, masked_at
from ..sharing import MASK_TOO
from ..weights import EXISTING, SharedWeight
from .card import checked
from .parts import Contents, Mask, TicketError, WeightSpec
from .planes import pack
from .pool import WeightPool

# Buffers that say how often, or since when: torch's batch norms', and fairseq's.
_COUNTERS = {"num_batches_tracked", "version", "_float_tensor"}
_OTHER = "give it a model of the architecture that it was made of"
_DENSE_TYPES = (torch.float32, torch.float16, torch.bfloat16)


def contents_of(
    model: nn.Module,
    architecture: Mapping[str, Any] | None = None,
    assets: Mapping[str, bytes] | None = None,
    card: Mapping[str, Any] | None = None,
) -> Contents:
    """The parts of the ticket of a masked model. Buffers that are known to be marks and counters are left out.

    Raises ``ValueError`` where nothing is masked, a random weight is no longer what its seed gives, or a tensor to be
    stored is neither float32 nor a half of it.
    """
    said = checked(card) if card else {}
    check_whole(model)
    groups: dict[nn.Parameter, list[tuple[str, MaskedWeight]]] = {}
    for place in masked_places(model):
        groups.setdefault(place.original, []).append((place.name, masked_at(place)))
    if not groups:
        raise ValueError("nothing to save: the model has no masked weights, and a ticket holds masks")
    for users in groups.values():
        users[0][1].forget_all()
    redraws = _redraws({scores: users[0][1] for scores, users in groups.items()})
    specs: dict[SharedWeight, WeightSpec] = {}
    existing: dict[WeightSpec, Tensor] = {}
    masks = []
    for scores, users in groups.items():
        name, masked = users[0]
        if masked.shared not in specs:
            spec = specs[masked.shared] = _spec(masked.shared, redraws.get(masked.shared))
            if spec.init == EXISTING:
                existing[spec] = _copied(spec.name, masked.shared.weight).float()
        # Modules that are tied for their mask alone are not tied in the model that the ticket fills.
        also = tuple(other for other, _ in users[1:]) if masked.config.share == MASK_TOO else ()
        _check_finite(f"the scores of {name}", scores)
        masks.append(_mask(name, also, masked, scores.detach(), specs[masked.shared]))
    dense = {name: _copied(name, tensor) for name, tensor, implied in _dense(model, set(groups)) if not implied}
    drawn_again = {specs[shared]: numbers for shared, numbers in redraws.items()}
    return Contents(tuple(masks), dict(architecture or {}), dense, existing, drawn_again, dict(assets or {}), said)


def _mask(name: str, also: tuple[str, ...], masked: MaskedWeight, scores: Tensor, spec: WeightSpec) -> Mask:
    searched = masked.searched_mask(scores, training=False)
    scale = masked.rule.scale(masked.layout.cover(searched), masked.shared.weight)
    planes = masked.rule.to_planes(searched.float().cpu().flatten().numpy())
    factor = None if scale is None else float(scale)
    return Mask(name, spec, masked.config, tuple(pack(plane) for plane in planes), also, factor)


def _redraws(users: Mapping[nn.Parameter, MaskedWeight]) -> dict[SharedWeight, Tensor]:
    """Of each random weight that was drawn again, the number of the draw of each element that any mask keeps."""
    found: dict[SharedWeight, Tensor] = {}
    for scores, masked in users.items():
        if masked.shared.draws:
            kept = masked.mask(scores.detach()) != 0
            found[masked.shared] = found[masked.shared] | kept if masked.shared in found else kept
    return {shared: (shared.redraws * kept).cpu() for shared, kept in found.items()}


def fill_(model: nn.Module, contents: Contents, pool: WeightPool | None = None) -> nn.Module:
    """Give ``model``, unmasked and of the ticket's architecture, the ticket's weights, in place, and return it.

    Parameters on the device ``meta`` are allocated (float32, CPU); others are overwritten where they are. All are
    frozen, and the model is put in evaluation mode. Raises ``TicketError``, before anything has changed, where the
    model's tensors are not the ticket's.
    """
    pool = WeightPool() if pool is None else pool  # an empty one is false
    slots = _slots(model)
    first = {name: key for key, slot in slots.items() for name in slot.names}
    masks = {_path(mask.name, first): mask for mask in contents.masks}
    for mask in contents.masks:
        for name in (_path(other, first) for other in mask.also):
            masks.setdefault(first.get(name, name), mask)
    _check(slots, masks, contents.dense)
    weights = {spec: contents.existing.get(spec) for spec in contents.weights}
    drawn = {
        spec: pool.get(spec, contents.redraws.get(spec)) if weight is None else weight
        for spec, weight in weights.items()
    }
    with torch.no_grad():
        for name, slot in slots.items():
            tensor = slot.allocated()
            if name in masks:
                _effective_(tensor, masks[name], drawn[masks[name].weight])
            elif name in contents.dense:
                tensor.copy_(contents.dense[name])
            elif isinstance(slot.tensor, nn.Parameter):
                tensor.fill_(_implied(name))
            slot.put(tensor)
    model.eval()
    return model


@dataclass
class _Slot:
    """A tensor of a model, and all the places that hold it."""

    tensor: Tensor
    names: list[str]
    places: list[tuple[nn.Module, str]]

    def allocated(self) -> Tensor:
        if self.tensor.device.type != "meta":
            return self.tensor.data
        return torch.empty(self.tensor.shape, dtype=self.tensor.dtype)

    def put(self, tensor: Tensor) -> None:
        if self.tensor.device.type == "meta":
            parameter = isinstance(self.tensor, nn.Parameter)
            self.tensor = nn.Parameter(tensor, requires_grad=False) if parameter else tensor
            for module, attribute in self.places:
                setattr(module, attribute, self.tensor)
        self.tensor.requires_grad_(False)


def _slots(model: nn.Module) -> dict[str, _Slot]:
    """The model's parameters, and its buffers that a ticket carries, by name; tied ones once, by their first name."""
    found: dict[int, tuple[str, _Slot]] = {}
    for prefix, module in model.named_modules():
        kept = {name for name, buffer in module._buffers.items() if buffer is not None}
        kept -= module._non_persistent_buffers_set | _COUNTERS
        held = [*module._parameters.items(), *((name, module._buffers[name]) for name in sorted(kept))]
        for attribute, tensor in held:
            if tensor is None:
                continue
            name = _joined(prefix, attribute)
            slot = found.setdefault(id(tensor), (name, _Slot(tensor, [], [])))[1]
            slot.names.append(name)
            slot.places.append((module, attribute))
    return dict(found.values())


def _check(slots: Mapping[str, _Slot], masks: Mapping[str, Mask], dense: Mapping[str, Tensor]) -> None:
    for name in masks.keys() & dense.keys():
        raise TicketError(f"the ticket holds {name} twice: under a mask, and dense: get it again")
    for name, shape in [
        *((name, mask.weight.shape) for name, mask in masks.items()),
        *((name, tuple(tensor.shape)) for name, tensor in dense.items()),
    ]:
        if name not in slots:
            masked = any(".parametrizations." in slot for slot in slots)
            mend = "it is masked, and a ticket fills one that is not: fold_ it first" if masked else _OTHER
            raise TicketError(f"the ticket holds {name}, which the model does not have: {mend}")
        if tuple(slots[name].tensor.shape) != shape:
            model = list(slots[name].tensor.shape)
            raise TicketError(f"{name} has shape {list(shape)} in the ticket, and {model} in the model: {_OTHER}")
    for name, slot in slots.items():
        is_implied = isinstance(slot.tensor, nn.Parameter) and slot.tensor.dim() == 1
        is_implied |= not isinstance(slot.tensor, nn.Parameter) and slot.tensor.numel() == 1  # tickets of before
        if name not in masks and name not in dense and not is_implied:
            raise TicketError(f"the ticket lacks {name}, which the model has: {_OTHER}")


def _effective_(out: Tensor, mask: Mask, weight: Tensor) -> None:
    plain = out.dtype == weight.dtype and out.is_contiguous() and out.device == weight.device
    values = mask.values()
    factor = mask.layout.factor(values)
    effective = out.copy_(values) if plain else values.to(weight.dtype)
    effective = mask.rule.combine_(effective, weight, None if mask.scale is None else torch.tensor(mask.scale))
    if factor is not None:
        effective.mul_(factor)
    if effective is not out:
        out.copy_(effective)


def _spec(shared: SharedWeight, redraws: Tensor | None) -> WeightSpec:
    """The spec of a random weight, with the digest of its float32 values, whatever its type and device now."""
    name, shape = shared.name, tuple(shared.weight.shape)
    spec = WeightSpec(name, shape, shared.init, shared.seed, float(shared.scale), "", shared.period)
    weight = shared.weight.detach().cpu().float() if shared.init == EXISTING else shared.drawn_anew()
    if redraws is not None:
        weight = spec.drawn(redraws).weight
    return replace(spec, digest=SharedWeight.of(weight, name=name).digest())


def _dense(model: nn.Module, scores: Collection[nn.Parameter]) -> Iterator[tuple[str, Tensor, bool]]:
    """(name, tensor, whether a ticket may leave it out) of all that is neither scores nor a random weight."""
    frozen = {id(buffer) for place in masked_places(model) for buffer in masked_at(place).buffers()}
    for name, slot in _slots(model).items():
        tensor = slot.tensor
        if tensor in scores or id(tensor) in frozen:
            continue
        tensor = tensor.detach().cpu()
        implied = isinstance(slot.tensor, nn.Parameter) and tensor.dim() == 1
        implied = implied and bool((tensor == _implied(name)).all()) and not bool(tensor.signbit().any())
        yield name, tensor, implied


def _copied(name: str, tensor: Tensor) -> Tensor:
    """A copy on CPU: training on does not change what was taken."""
    if tensor.dtype not in _DENSE_TYPES:
        raise ValueError(f"{name} is {tensor.dtype}, and a ticket holds only {', '.join(map(str, _DENSE_TYPES))}")
    _check_finite(name, tensor)
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _check_finite(name: str, tensor: Tensor) -> None:
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"{name}: not all numbers are finite: the training has diverged")


def _path(name: str, model: Collection[str]) -> str:
    """The full name of the masked tensor that a ticket calls by its module's, or by its own where that is another."""
    return name if name in model else _joined(name, WEIGHT)


def _joined(module: str, attribute: str) -> str:
    """A tensor's full name; the model itself, which may be a masked module, is called ""."""
    return f"{module}.{attribute}" if module else attribute


def _implied(name: str) -> float:
    """What a vector that a ticket leaves out holds: a norm's weight is one, a bias zero."""
    return 1.0 if name.endswith("weight") else 0.0
