"""Set scores so that masks imitate given dense weights: ``project_``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Union

import torch
from torch import Tensor, nn

from .convert import masked_places
from .parametrization import MaskedWeight, masked_at
from .weights import fans

Dense = Union[nn.Module, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Projection:
    """How well a mask imitates a dense weight.

    inner: the sum of products of effective and dense weights. effective, dense: the sum of squares of each.
    """

    inner: float
    effective: float
    dense: float

    def __repr__(self) -> str:
        return f"Projection(cosine={self.cosine:.4f}, factor={self.factor:.4g})"

    @property
    def cosine(self) -> float:
        """Of the angle between the two: 1 where one is a multiple of the other; 0 where either is all zeros."""
        size = math.sqrt(self.effective * self.dense)
        return self.inner / size if size else 0.0

    @property
    def factor(self) -> float:
        """The number that, times the effective weight, comes nearest to the dense one: of the least squared error."""
        return self.inner / self.effective if self.effective else 0.0


@dataclass
class _Group:
    """Modules that have one mask, and the dense weight of each."""

    masked: MaskedWeight
    scores: nn.Parameter
    targets: dict[str, Tensor]


def project_(model: nn.Module, dense: Dense) -> dict[str, Projection]:
    """Set the scores of a masked model, in place, so that each mask imitates a dense weight as well as its rule can.

    dense: a model of the same architecture, or its state dict: each masked tensor imitates the dense one of its name,
    and of its shape. Each rule has a closed form (``MaskRule.project``) for the largest
    cosine between effective and dense weight, which it reaches, or, over random weights of several magnitudes, comes
    close to. Their ratio is left to ``Projection.factor``, by which ``MaskConfig.scale`` may be multiplied. Where
    modules share a mask it imitates the sum of their weights; tensors that are ranked together are imitated together.

    Returns what came of each masked tensor, by the name of its (first) module, or the tensor's
    own where that is not ``weight``. Raises ``ValueError``, before anything
    has changed, where nothing is masked, a weight is missing, not finite or of another shape, or a rule has no such
    form.
    """
    groups = _groups(model, dense)
    together: dict[int, list[_Group]] = {}
    for group in groups:
        together.setdefault(id(group.masked.joint or group), []).append(group)
    with torch.no_grad():
        new = [(group, scores) for alike in together.values() for group, scores in zip(alike, _projected(alike))]
        for group, scores in new:
            _searched_(group, scores)
            group.masked.forget_all()
        return {next(iter(group.targets)): _measured(group) for group in groups}


def _groups(model: nn.Module, dense: Dense) -> list[_Group]:
    weights = dense.state_dict() if isinstance(dense, nn.Module) else dense
    groups: dict[nn.Parameter, _Group] = {}
    for place in masked_places(model):
        name, full, masked, scores = place.name, place.path, masked_at(place), place.original
        target = weights.get(full)
        if target is None:
            raise ValueError(f"{full}: the dense model has no such weight: give one of the same architecture")
        if target.shape != masked.shared.weight.shape:
            shape = list(masked.shared.weight.shape)
            raise ValueError(f"{full} has shape {list(target.shape)} in the dense model, and {shape} in the masked one")
        if not torch.isfinite(target).all():
            raise ValueError(f"{full}: the dense model has weights there that are not finite")
        group = groups.setdefault(scores, _Group(masked, scores, {}))
        tied = any(target.data_ptr() == other.data_ptr() for other in group.targets.values())
        if not tied:
            group.targets[name] = target.detach()
    if not groups:
        raise ValueError("nothing to project on: the model has no masked weights")
    return list(groups.values())


def _projected(groups: Sequence[_Group]) -> list[Tensor]:
    """The searched scores of tensors that are ranked together: usually of one."""
    pairs = [_statistics(group) for group in groups]
    inner, energy = (torch.cat([pair[at].flatten() for pair in pairs]) for at in (0, 1))
    # In units of their own size: what is very large or small would leave float32 on the way.
    unit, tiny = energy.mean().clamp(min=torch.finfo(torch.float64).tiny), torch.finfo(torch.float64).tiny
    inner = (inner / inner.square().mean().sqrt().clamp(min=tiny)).float()
    energy = (energy / unit).float()
    shape = tuple(groups[0].masked.shared.weight.shape)
    scores = groups[0].masked.rule.project(inner, energy, 1.0 / math.sqrt(fans(shape)[0]))
    parts = scores.split([pair[0].numel() for pair in pairs])
    return [part.view(pair[0].shape) for part, pair in zip(parts, pairs)]


def _statistics(group: _Group) -> tuple[Tensor, Tensor]:
    """(inner, energy) of each searched score: float64."""
    masked, weight = group.masked, group.masked.shared.weight.double()
    basis = masked.rule.combine_(torch.ones_like(weight), weight, None)
    target = torch.stack([target.to(weight) for target in group.targets.values()]).sum(0)
    layout = masked.layout
    inner, energy = layout.gather(basis * target), layout.gather(basis.square() * len(group.targets))
    return layout.search(inner), layout.search(energy)


def _searched_(group: _Group, scores: Tensor) -> None:
    free = group.masked.layout.free
    if free is None:
        group.scores.copy_(scores)
    else:
        group.scores.view(-1)[free.to(group.scores.device)] = scores.to(group.scores)


def _measured(group: _Group) -> Projection:
    effective = group.masked.effective(group.scores.detach(), training=False).double()
    targets = [target.to(effective) for target in group.targets.values()]
    inner = sum(float((effective * target).sum()) for target in targets)
    size = float(effective.square().sum()) * len(targets)
    return Projection(inner, size, sum(float(target.square().sum()) for target in targets))
