"""Whether tensors are numbers still: a training that has left them is worth nothing."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

DIVERGED = "try a lower learning rate"
"""In the line by which a training ends that has left them."""


def not_finite(tensors: Iterable[tuple[str, Tensor | None]]) -> str | None:
    """The name of the first tensor with an infinity or a NaN in it; None where there is none."""
    for name, tensor in tensors:
        if tensor is not None and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return name
    return None


def spoilt(model: nn.Module) -> str | None:
    """The name of the first parameter or buffer of a model that is not finite; None where all are."""
    return not_finite(model.named_parameters()) or not_finite(model.named_buffers())
