"""The row to beat: edge-popup as its published implementations do it, sorting every score in every forward pass.

A re-statement of the algorithm (Ramanujan et al. 2019, arXiv 1911.13299, section 3), in plain torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class _SortedSubnet(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, keep: float) -> Tensor:
        order = scores.flatten().sort().indices
        mask = torch.zeros_like(scores).flatten()
        mask[order[int((1 - keep) * order.numel()) :]] = 1
        return mask.view_as(scores)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class SortedLinear(nn.Module):
    """A linear layer of frozen random weights, without bias, whose mask is found by sorting."""

    def __init__(self, inputs: int, outputs: int, keep: float = 0.5) -> None:
        super().__init__()
        self.keep = keep
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * inputs**-0.5, requires_grad=False)
        self.scores = nn.Parameter(torch.randn(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * _SortedSubnet.apply(self.scores.abs(), self.keep))
