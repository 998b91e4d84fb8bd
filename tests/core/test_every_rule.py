"""Every mask rule: training resumed, and its ticket."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from one_layer_lt import MaskConfig, advance_, fold_, load_ticket, mask_, masked_modules, save_ticket
from one_layer_lt.ticket.encoding import _redraws, _to_bytes
from one_layer_lt.ticket.parts import WeightSpec
from one_layer_lt.ticket.sizes import sizes
from tests.support.configs import CONFIGS
from tests.support.models import Stacks


def train(model: nn.Module, optimizer: torch.optim.Optimizer, updates: range) -> None:
    for update in updates:
        torch.manual_seed(update)  # as fairseq does
        advance_(model, update)
        model.train()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            model(torch.randn(8, 4))


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)


def bits(model: nn.Module) -> dict[str, bytes]:
    return {name: tensor.detach().contiguous().numpy().tobytes() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", CONFIGS)
def test_resuming_equals_not_stopping(name: str, tmp_path: Path) -> None:
    whole = mask_(Stacks(), CONFIGS[name])
    start = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    train(whole, adam(whole), range(9))

    first = mask_(Stacks(), CONFIGS[name])
    first.load_state_dict(start)
    optimizer = adam(first)
    train(first, optimizer, range(4))
    torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")

    second = mask_(Stacks(), CONFIGS[name])
    advance_(second, 4)  # as fairseq does, before it loads
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    second.load_state_dict(state["model"])
    optimizer = adam(second)
    optimizer.load_state_dict(state["optimizer"])
    train(second, optimizer, range(4, 9))
    assert bits(second) == bits(whole)
    assert any(not torch.equal(tensor, start[name]) for name, tensor in whole.named_parameters())
    assert bits(fold_(second)) == bits(fold_(whole))


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_ticket_reloads_bit_for_bit(name: str, trained: bool, tmp_path: Path) -> None:
    model = mask_(Stacks(), CONFIGS[name])
    if trained:
        train(model, adam(model), range(8))
    path = tmp_path / "net.ticket"
    save_ticket(path, model)
    ticket = load_ticket(path)
    filled = ticket.fill_(Stacks())
    folded = fold_(copy.deepcopy(model))
    assert bits(filled) == bits(folded)
    x = torch.randn(5, 4)
    with torch.no_grad():
        assert torch.equal(filled(x), model.eval()(x))
    again = tmp_path / "again.ticket"
    save_ticket(again, model)
    assert again.read_bytes() == path.read_bytes()
    measured = sizes(ticket)
    assert measured.masks >= measured.bound - 1
    weights = [module.weight for _, module in masked_modules(model)]
    assert measured.dense // 4 == sum(weight.numel() for weight in weights)


def test_a_ticket_stores_only_what_is_searched(tmp_path: Path) -> None:
    def stored(**options: Any) -> int:
        model = mask_(nn.Sequential(nn.Linear(256, 256, bias=False)), MaskConfig(**options))
        save_ticket(tmp_path / "net.ticket", model)
        return sizes(load_ticket(tmp_path / "net.ticket")).masks

    assert stored() == 8192
    assert stored(tiles=(4, 1)) == 2048
    assert stored(drop=0.3, lock=0.3) == pytest.approx(0.4 * 8192, rel=0.05)
    assert stored(rule="signed") == pytest.approx(1.5 * 8192, rel=0.01)


@pytest.mark.parametrize(("last", "size"), [(255, 4), (256, 8), (32_767, 8)])
def test_numbers_of_draws_as_bytes(last: int, size: int) -> None:
    numbers = torch.tensor([[0, 1], [last, 7]], dtype=torch.int16)
    raw = _to_bytes(numbers)
    assert len(raw) == size
    assert torch.equal(_redraws(raw, WeightSpec("w", (2, 2), "signed_constant", 1, 1.0, "")), numbers)
