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
from one_layer_lt.record import differences

from ..checkpoints import load, save

RECORDS = ("trained_over", "_extra_state")  # what a tensor of a state dict that holds a record is called


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
    """Write the mean of the checkpoints' tensors to `out`; whole numbers, and all else, are those of the last one.

    Raises ``UserError``, which names both values, where they are not of one training.
    """
    sums: dict[str, torch.Tensor] = {}
    state: dict[str, Any] = {}
    seed: Any = None
    for path in paths:
        state = load(path)
        if sums:
            _check_same(paths[0], sums, path, state["model"])
            _check_field(paths[0], "--seed", seed, path, _seed(state))
        seed = _seed(state)
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


def _check_same(first: Path, own: dict[str, torch.Tensor], path: Path, theirs: dict[str, torch.Tensor]) -> None:
    """Raises ``UserError`` where two models are not of the same shapes, masks, weights and data."""
    if _shapes(own) != _shapes(theirs):
        raise UserError(f"{path} holds another model than {first}: they cannot be averaged")
    for name, tensor in theirs.items():
        if name in own and name.endswith(RECORDS):
            for field, (here, there) in differences(own[name], tensor).items():
                _check_field(first, field, here, path, there)


def _check_field(first: Path, field: str, own: Any, path: Path, theirs: Any) -> None:
    if own != theirs:
        raise UserError(
            f"{path} was trained with {field} {theirs!s:.60}, and {first} with {own!s:.60}: they cannot be averaged"
        )


def _seed(state: dict[str, Any]) -> Any:
    return ((state.get("cfg") or {}).get("common") or {}).get("seed")


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items() if not name.endswith(RECORDS)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of checkpoints")
    parser.add_argument("--last", type=count, required=True, metavar="N", help="how many to average")
    add_out(parser, "the checkpoint to write")


def run(args: argparse.Namespace) -> None:
    if not args.folder.is_dir():
        raise UserError(f"no such folder: {args.folder}")
    average(last_checkpoints(args.folder, args.last), args.out)
