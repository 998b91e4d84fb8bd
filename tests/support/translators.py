"""Tickets of translators changed, and what fairseq's own commands translate."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli import generate
from torch import Tensor, nn

from one_layer_lt import Ticket
from one_layer_lt.translation import Decoding
from tests.plugin.running import PLUGIN, batch

BOTH = ("encoder", "decoder")
BEAM = Decoding(beam=2, max_len_b=30)
GENERATION = ["--cpu", "--beam", "2", "--max-len-b", "30", "--required-batch-size-multiple", "1"]
GENERATION += ["--no-progress-bar", "--post-process", "sentencepiece", "--max-tokens", "8000", "--num-workers", "0"]


def generate_with(data: Path, checkpoint: Path, *flags: str) -> list[str]:
    """fairseq-generate in this process."""
    said = io.StringIO()
    arguments = [str(data), "--path", str(checkpoint), "--user-dir", str(PLUGIN), *GENERATION, *flags]
    args = options.parse_args_and_arch(options.get_generation_parser(), arguments)
    with redirect_stdout(said):
        generate.main(convert_namespace_to_omegaconf(args))
    return hypotheses(said.getvalue())


def hypotheses(said: str) -> list[str]:
    """The translations within what fairseq-generate says, in the order of the corpus."""
    found = re.findall(r"^H-(\d+)\t\S+\t?(.*)$", said, re.MULTILINE)
    return [text for _, text in sorted(found, key=lambda entry: int(entry[0]))]


def raw_test(data: Path) -> list[str]:
    """The source of a data folder's test split."""
    return (data / "raw" / "test.xx").read_text().splitlines()


def vars_of(ticket: Ticket) -> dict[str, Any]:
    """What ``Ticket`` is made of."""
    return {name: getattr(ticket, name) for name in ("masks", "architecture", "dense", "existing", "assets")}


def with_settings(ticket: Ticket, drop: str = "", **settings: Any) -> Ticket:
    """The ticket with other settings of its architecture."""
    architecture = {**ticket.architecture, **settings}
    architecture.pop(drop, None)
    return Ticket(**{**vars_of(ticket), "architecture": architecture})


def parameters(model: nn.Module) -> dict[str, Tensor]:
    """By name, tied ones each time."""
    return dict(model.named_parameters(remove_duplicate=False))


def assert_same(found: nn.Module, expected: nn.Module) -> None:
    """Every parameter is, bit for bit, and so is what they compute."""
    assert_same_parameters(found, expected)
    with torch.no_grad():
        assert torch.equal(found(**batch())[0], expected(**batch())[0])


def assert_same_parameters(found: nn.Module, expected: nn.Module) -> None:
    """Every parameter is, bit for bit, with the signs of zeros."""
    theirs, ours = parameters(expected), parameters(found)
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
        assert torch.equal(ours[name].signbit(), tensor.signbit()), name
