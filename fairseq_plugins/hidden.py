"""What the layers of a Transformer put out while it runs, and how far two of them are apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


@contextmanager
def layer_outputs(model: Any) -> Iterator[list[Tensor]]:
    """The outputs of the layers that run within, encoder before decoder: each of shape (length, batch, width)."""
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)

    hooks = [layer.register_forward_hook(keep) for stack in (model.encoder, model.decoder) for layer in stack.layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def distance(own: Sequence[Tensor], theirs: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """The mean squared difference of normed outputs, layer by layer: shape (), 0 where they point the same way.

    own, theirs: as ``layer_outputs`` gives them, of the same number of layers and widths. masks: of each layer the
    positions that count, bool, of shape (batch, length). Outputs are normed as by a layer norm without parameters, so
    that a pre-norm Transformer's, which grow from layer to layer, count alike (Wang et al. 2025, arXiv 2510.13998).
    """
    parts = []
    for mine, other, mask in zip(own, theirs, masks):
        counted = mask.transpose(0, 1)
        normed = [F.layer_norm(states.float(), states.shape[-1:])[counted] for states in (mine, other)]
        parts.append((normed[0] - normed[1]).square().mean())
    return sum(parts[1:], parts[0]) / len(parts)
