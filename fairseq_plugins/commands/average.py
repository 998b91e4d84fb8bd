"""Average the last checkpoints of a training: the mean often translates better than any one of them.

    one-layer-lt average runs/m30k --last 5 -o runs/m30k/average.pt
    one-layer-lt score runs/m30k/average.pt --data data-bin/multi30k.de-en

The mean is a checkpoint like any other: score it, make a ticket of it (export), or convert it. Of a masked model it has
the means of the scores, and its masks follow from them. It takes numbered checkpoints, so train without fairseq's
--no-epoch-checkpoints.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from one_layer_lt.cli.parser import add_out, count
from one_layer_lt.errors import UserError

from ..checkpoints import load, save


def last_checkpoints(folder: Path, wanted: int) -> list[Path]:
    """The last `wanted` checkpoints, oldest first: those written by epoch if there are enough, else those by update."""
    found = 0
    for pattern in (r"checkpoint(\d+)\.pt", r"checkpoint_\d+_(\d+)\.pt"):
        numbered = {int(match[1]): file for file in folder.iterdir() if (match := re.fullmatch(pattern, file.name))}
        if len(numbered) >= wanted:
            return [numbered[number] for number in sorted(numbered)[-wanted:]]
        found = max(found, len(numbered))
    raise UserError(f"{folder} has {found} numbered checkpoints, not the {wanted} that --last asks for")


def average(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of the checkpoints' tensors to `out`; whole numbers, and all else, are those of the last one."""
    sums: dict[str, torch.Tensor] = {}
    state: dict[str, Any] = {}
    for path in paths:
        state = load(path)
        if sums and _shapes(sums) != _shapes(state["model"]):
            raise UserError(f"{path} holds another model than {paths[0]}: they cannot be averaged")
        for name, tensor in state["model"].items():
            if name in sums and name.endswith(("trained_over", "_extra_state")) and not torch.equal(sums[name], tensor):
                raise UserError(
                    f"{path} was trained with other masks, weights or data than {paths[0]}: they cannot be averaged"
                )
        for name, tensor in state["model"].items():
            if tensor.is_floating_point():
                tensor = tensor.double() + sums.get(name, 0.0)
            sums[name] = tensor
    means: dict[tuple[int, torch.Size], torch.Tensor] = {}  # by where the tensor is, so that tied ones stay tied
    for name, tensor in state["model"].items():
        if tensor.is_floating_point():
            mean = (sums[name] / len(paths)).to(tensor.dtype)
            state["model"][name] = means.setdefault((tensor.data_ptr(), tensor.shape), mean)
    save(state, out)


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of checkpoints")
    parser.add_argument("--last", type=count, required=True, metavar="N", help="how many to average")
    add_out(parser, "the checkpoint to write")


def run(args: argparse.Namespace) -> None:
    if not args.folder.is_dir():
        raise UserError(f"no such folder: {args.folder}")
    average(last_checkpoints(args.folder, args.last), args.out)
