"""Masked models under ``torch.compile`` and ``torch.export``."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

from one_layer_lt import MaskConfig, advance_, fold_, mask_, masked_modules, scores_of


def new() -> nn.Module:
    torch.manual_seed(1)
    return mask_(nn.Sequential(nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 4)), MaskConfig(keep=0.3))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_a_compiled_model_trains_as_the_plain_one(backend: str) -> None:
    plain, compiled = new(), new()
    run = torch.compile(compiled, backend=backend)
    optimizers = [torch.optim.Adam([p for p in m.parameters() if p.requires_grad], lr=0.01) for m in (plain, compiled)]
    for update in range(4):
        data = torch.randn(8, 300)
        for model, call, optimizer in zip((plain, compiled), (plain, run), optimizers):
            advance_(model, update)
            optimizer.zero_grad()
            call(data).square().sum().backward()
            optimizer.step()
    for (_, one), (_, other) in zip(masked_modules(plain), masked_modules(compiled)):
        torch.testing.assert_close(scores_of(one), scores_of(other), rtol=1e-4, atol=1e-5)
        assert int((other.weight != 0).sum()) == round(0.3 * other.weight.numel())
    with torch.no_grad():
        data = torch.randn(8, 300)
        torch.testing.assert_close(run.eval()(data), compiled.eval()(data), rtol=1e-4, atol=1e-5)


def test_export_says_to_fold() -> None:
    model = new().eval()
    data = (torch.randn(2, 300),)
    with pytest.raises(Exception, match="fold_ it first"):
        torch.export.export(model, data)
    exported = torch.export.export(fold_(model), data)
    torch.testing.assert_close(exported.module()(*data), model(*data))


def test_importing_leaves_the_compiler_out() -> None:
    check = "import sys, one_layer_lt; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
