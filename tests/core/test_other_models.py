"""Networks as people bring them: a ResNet-18 and a Hugging Face encoder, by every rule."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from one_layer_lt import RULES, MaskConfig, load_ticket, mask_, masked_modules, save_ticket, scores_of
from one_layer_lt.rules import MaskRule

ROOT = Path(__file__).resolve().parents[2]


class Residual(nn.Module):
    """ResNet's basic block (He et al. 2016, arXiv 1512.03385, section 3.3)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs, affine=False),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs, affine=False),
        )
        self.across = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.across(x))


def resnet18(width: int = 8) -> nn.Sequential:
    """Its form for small images, an eighth as wide: (batch, 3, 32, 32) -> (batch, 10)."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width, affine=False), nn.ReLU()]
    inputs = width
    for stage in range(4):
        for block in range(2):
            layers.append(Residual(inputs, width << stage, 2 if stage and not block else 1))
            inputs = width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


def bert() -> nn.Module:
    transformers = pytest.importorskip("transformers", reason="a Hugging Face encoder needs transformers")
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    try:
        model: nn.Module = transformers.BertModel(transformers.BertConfig(intermediate_size=32, **sizes))
    except (ImportError, OSError) as error:  # it imports whatever it finds, working or not
        pytest.skip(f"transformers does not load here: {error}")
    return model


def check_only_scores_move(model: nn.Module, run: Any) -> None:
    scores = {id(scores_of(module)) for _, module in masked_modules(model)}
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    out = run(model)
    (out * torch.randn(out.shape)).sum().backward()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    optimizer.step()
    moved = {name for name, tensor in model.named_parameters() if not torch.equal(tensor, before[name])}
    expected = {name for name, tensor in model.named_parameters() if id(tensor) in scores}
    assert moved <= expected
    assert len(moved) > 0.9 * len(expected)
    assert {id(tensor) for tensor in model.parameters() if tensor.requires_grad} == scores


@pytest.mark.parametrize("rule", RULES)
def test_resnet18(rule: str, tmp_path: Path) -> None:
    model = mask_(resnet18(), MaskConfig(rule=rule))
    assert len(list(masked_modules(model))) == 21
    images = torch.randn(4, 3, 32, 32)
    check_only_scores_move(model, lambda net: net(images))
    save_ticket(tmp_path / "net.ticket", model)
    filled = load_ticket(tmp_path / "net.ticket").fill_(resnet18())
    with torch.no_grad():
        assert torch.equal(filled(images), model.eval()(images))


@pytest.mark.parametrize("rule", RULES)
def test_hugging_face_encoder(rule: str) -> None:
    model = mask_(bert(), MaskConfig(rule=rule))
    tokens = torch.arange(24).view(2, 12)
    check_only_scores_move(model, lambda net: net(tokens).pooler_output)


@dataclass
class Doubled(MaskRule):
    """A rule of one's own with a factor of the whole tensor, redraws left alone."""

    def mask(self, scores: Tensor) -> Tensor:
        return (scores > 0).to(scores.dtype)

    def scale(self, mask: Tensor, weight: Tensor) -> Tensor:
        return 2 * weight.abs().max()

    def combine_(self, mask: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
        return mask.mul_(weight.sign()) if scale is None else mask.mul_(weight.sign()).mul_(scale.to(mask))


def test_a_rule_of_ones_own_with_a_scale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(RULES, "doubled", Doubled)
    model = mask_(resnet18(), MaskConfig(rule="doubled")).eval()
    save_ticket(tmp_path / "net.ticket", model)
    filled = load_ticket(tmp_path / "net.ticket").fill_(resnet18())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(filled(images), model(images))


def test_the_rule_that_the_documentation_makes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "rules.md").read_text(), re.DOTALL)
    blocks = [block for block in blocks if "AboveMean" in block]
    assert len(blocks) == 2
    assert len(blocks[0].strip().splitlines()) <= 28
    (tmp_path / "above_mean.py").write_text(blocks[0])
    monkeypatch.syspath_prepend(tmp_path)
    rule: type[MaskRule] = importlib.import_module("above_mean").AboveMean
    monkeypatch.setitem(RULES, "above_mean", rule)
    assert 'RULES["above_mean"] = AboveMean' in blocks[1]

    scores = torch.tensor([[0.0, 2.0, 1.0], [0.5, 0.9, 0.4]]).requires_grad_()
    worked = MaskConfig(rule="above_mean", options={"margin": 0.1}).new_rule()
    assert worked.mask(scores.detach()).tolist() == [[0, 1, 1], [0, 0, 0]]  # the mean is 0.8
    worked.effective_weight(scores, torch.full((2, 3), 2.0)).sum().backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[2, 0, 0], [2, 2, 2]]

    model = mask_(nn.Sequential(nn.Linear(6, 4)), MaskConfig(rule="above_mean"))
    save_ticket(tmp_path / "net.ticket", model)
    filled = load_ticket(tmp_path / "net.ticket").fill_(nn.Sequential(nn.Linear(6, 4)))
    assert torch.equal(filled[0].weight, model[0].weight)
    with pytest.raises(ValueError, match="rule above_mean: clip must be positive, not -1"):
        MaskConfig(rule="above_mean", options={"clip": -1})
