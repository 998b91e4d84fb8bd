"""Toy models small enough to work out by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 4)
        self.norm = nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.fc2(torch.relu(self.fc1(x))))


class Stacks(nn.Module):
    """Two stacks, of 3 and of 2 equal blocks: (batch, 4) -> (batch, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(Block() for _ in range(3))})
        self.decoder = nn.ModuleDict({"layers": nn.ModuleList(Block() for _ in range(2))})

    def forward(self, x: Tensor) -> Tensor:
        for stack in (self.encoder, self.decoder):
            for block in stack["layers"]:
                x = block(x)
        return x


class Tied(nn.Module):
    """An embedding whose weight is the output projection's too: tokens (batch,) -> logits (batch, 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc, self.head = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.relu(self.fc(self.embed(tokens))))


class Images(nn.Module):
    """Convolution and linear layer: (batch, 2, 5, 5) -> (batch, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


class Mixed(nn.Module):
    """Modules that stay dense beside masked ones: batch norm, an embedding, a PReLU, a parameter of the model's own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.fc = nn.Linear(4, 6)
        self.norm, self.slope = nn.BatchNorm1d(6), nn.PReLU(6)
        self.head = nn.Linear(6, 3, bias=False)
        self.shift = nn.Parameter(torch.randn(2, 3))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.slope(self.norm(self.fc(self.embed(tokens))))) + self.shift.sum(0)


def three() -> nn.ModuleDict:
    """Three matrices, of which two are alike."""
    return nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(4, 2), "c": nn.Linear(3, 3)})
