"""What scores belong to: the settings and the random weight that they were trained over, kept beside them."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from .config import MaskConfig
from .weights import SharedWeight

KEY = "trained_over"  # in the state dict, beside each masked tensor's scores
_MOST = 1 << 16  # bytes of a record
_DAMAGED = "the record of what was trained, and over which weights, is damaged in the checkpoint"
_START_ONLY = {"score_init"}  # what scores began as does not matter to what they are


def record_of(config: MaskConfig, shared: SharedWeight, name: str) -> Tensor:
    """A record of what decides the effective weight beside the scores: uint8, JSON in UTF-8."""
    record: dict[str, Any] = {"rule": config.rule}  # first, for others follow from it
    record |= {field.name: getattr(config, field.name) for field in fields(config) if field.name not in _START_ONLY}
    record |= {"tensor": name, "random_weight": shared.name}
    return torch.tensor(list(json.dumps(record).encode()), dtype=torch.uint8)


def differences(own: Tensor, theirs: Tensor) -> dict[str, tuple[Any, Any]]:
    """Of two records, each field of both in which they differ, with both values.

    Raises ``ValueError`` for a damaged one.
    """
    if theirs.dim() != 1 or theirs.numel() > _MOST or theirs.device.type == "meta":
        raise ValueError(f"{_DAMAGED}, or not loaded yet")
    try:
        mine, other = (json.loads(bytes(record.to("cpu", torch.uint8).tolist())) for record in (own, theirs))
        return {field: (mine[field], other[field]) for field in mine if field in other and mine[field] != other[field]}
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{_DAMAGED} ({error}): take another copy") from None


class OtherWeights(ValueError):
    """Scores that were trained over other random weights, or under another mask, than those they are loaded onto.

    field, own, theirs: the first setting that differs, its value here, and that of the scores.
    """

    def __init__(self, tensor: str, field: str, own: Any, theirs: Any) -> None:
        super().__init__(
            f"{tensor}: its scores were trained with {field} {theirs!r:.60}, and this model has {own!r}: build it with "
            "the settings that the scores were trained with"
        )
        self.field, self.own, self.theirs = field, own, theirs
