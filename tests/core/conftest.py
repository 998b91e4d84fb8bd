"""Toy models as fixtures, and what is computed while a test runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from one_layer_lt import MaskConfig, parametrization, save_ticket
from one_layer_lt.rules import MaskRule
from tests.support.models import Images, Mixed, Stacks, Tied, three
from tests.support.tickets import NewModel, masked

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
def new_model() -> NewModel:
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
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.ticket"


@pytest.fixture
def fresh(new_model: NewModel) -> NewModel:
    """kind -> a new model, whose own weights are of no account, and an input for it."""
    return lambda kind: (Mixed(), torch.tensor([0, 4, 2, 2])) if kind == "mixed" else new_model(kind)


@pytest.fixture
def flaw_file(path: Path) -> Path:
    """A small ticket to put flaws into."""

    def configure(name: str, _: nn.Module) -> MaskConfig:
        return MaskConfig(seed=3) if name != "c" else MaskConfig(init="existing", keep=1 / 3)

    model = masked(three(), configure=configure, trainable=["b.bias"])
    save_ticket(path, model, assets={"words": b"abcde"})
    return path


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
