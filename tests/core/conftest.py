"""Toy models as fixtures, and what is computed while a test runs."""

from __future__ import annotations

from typing import Any, Callable

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from one_layer_lt import parametrization
from one_layer_lt.rules import MaskRule
from tests.support.models import Images, Stacks, Tied

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


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
