"""Toy models small enough to work out by hand."""

from __future__ import annotations

from typing import Any, Callable

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from one_layer_lt import parametrization
from one_layer_lt.rules import MaskRule

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


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


@pytest.fixture
def stacks() -> Stacks:
    return Stacks()


@pytest.fixture
def tied() -> Tied:
    return Tied()


@pytest.fixture
def images() -> Images:
    return Images()


@pytest.fixture
def new_model() -> Callable[[str], tuple[nn.Module, Tensor]]:
    """kind -> a new model of that kind, and an input for it."""

    def new(kind: str) -> tuple[nn.Module, Tensor]:
        generator = torch.Generator().manual_seed(0)
        if kind == "tied":
            return Tied(), torch.tensor([0, 3, 6, 3])
        if kind == "images":
            return Images(), torch.randn(2, 2, 5, 5, generator=generator)
        return Stacks(), torch.randn(3, 4, generator=generator)

    return new


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the effective weights that are computed during the test, in order."""
    shapes: list[tuple[int, ...]] = []
    compute = parametrization.effective_weight

    def counting(rule: MaskRule, scores: Tensor, *others: Any, **how: Any) -> Tensor:
        shapes.append(tuple(scores.shape))
        return compute(rule, scores, *others, **how)

    monkeypatch.setattr(parametrization, "effective_weight", counting)
    return shapes


@pytest.fixture(autouse=True)
def _same_start() -> None:
    torch.manual_seed(0)
