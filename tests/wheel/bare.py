"""What the bare package must do in an environment that has nothing else."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

import one_layer_lt
from one_layer_lt import MaskConfig, fold_, load_ticket, mask_, save_ticket, summarize


def new() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2, enable_nested_tensor=False)


def command(*arguments: str) -> str:
    path = Path(sys.executable).with_name("one-layer-lt")
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=True).stdout


installed = {distribution.metadata["Name"].lower() for distribution in distributions()}
assert not installed & {"fairseq", "ve-fairseq", "sacrebleu", "sentencepiece", "ctranslate2"}, installed
assert "site-packages" in one_layer_lt.__file__

model = mask_(new(), MaskConfig(seed=3, keep=0.5))
counted = summarize(model)
assert counted.scores == 2 * (4 * 16 * 16 + 2 * 16 * 32), counted
data = torch.randn(2, 5, 16)
optimizer = torch.optim.Adam([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.01)
model(data).square().mean().backward()
optimizer.step()

with TemporaryDirectory() as folder, torch.no_grad():
    path = Path(folder, "net.ticket")
    save_ticket(path, model.eval())
    filled = load_ticket(path).fill_(new())
    torch.testing.assert_close(filled(data), model(data))
    folded = fold_(model)
    torch.testing.assert_close(folded(data), filled(data))
    assert "self_attn.in_proj_weight" in command("info", str(path))
    command("verify", str(path))
    golden = Path(__file__).parents[1] / "golden" / "tickets" / "translation-sentencepiece.ticket"
    command("convert", str(golden), "--to", "html", "-o", str(Path(folder, "page.html")))
    assert "DecompressionStream" in Path(folder, "page.html").read_text("utf-8")
command("--help")
assert (Path(one_layer_lt.__file__).parent / "tickets").is_dir()
command("tickets")
assert one_layer_lt.__version__ in command("--version")
