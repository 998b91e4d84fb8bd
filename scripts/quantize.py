"""Round a dense model's weights to a few bits, to compare tickets with the small dense models that people ship.

python scripts/quantize.py runs/dense/checkpoint_best.pt --bits 8 --out runs/dense/int8.pt

Each row of a matrix gets one float32 scale and whole numbers (symmetric, by its largest value), the usual weight-only
form; activations stay in float, which flatters the dense model. The file written holds the rounded weights in float32,
so that scripts/score.py translates with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from data_prep.lib import cli
from scripts.average import load, save

BITS = (8, 4, 2)


def rounded(weight: Tensor, bits: int) -> Tensor:
    """A matrix with each row rounded to whole numbers, from -(2^(bits-1) - 1) on, times a scale of the row's."""
    most = 2 ** (bits - 1) - 1
    scale = weight.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / most
    return (weight / scale).round() * scale


def size(tensors: dict[str, Tensor], bits: int) -> int:
    """Bytes of a model: matrices at ``bits`` a weight and a scale a row (32: as they are), all else in float32."""
    total = 0.0
    for tensor in _untied(tensors):
        if tensor.dim() == 2 and bits < 32:
            total += tensor.numel() * bits / 8 + 4 * len(tensor)
        elif tensor.numel() > 1:  # not fairseq's marks of versions
            total += 4 * tensor.numel()
    return round(total)


def quantize(checkpoint: Path, bits: int, out: Path) -> int:
    """Write the checkpoint with rounded weights to ``out``; the bytes that the model would take."""
    state = load(checkpoint)
    bytes_ = size(state["model"], bits)
    for tensor in _untied(state["model"]):
        if tensor.dim() == 2 and tensor.is_floating_point():
            tensor.copy_(rounded(tensor, bits))
    save(state, out)
    return bytes_


def _untied(tensors: dict[str, Tensor]) -> Iterable[Tensor]:
    return {tensor.data_ptr(): tensor for tensor in tensors.values()}.values()


def main() -> None:
    parser = cli.Parser(prog="quantize.py", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--bits", type=int, choices=BITS, default=8, help="a weight (8)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the checkpoint to write")
    args = parser.parse_args()
    print(f"{args.out}: {quantize(args.checkpoint, args.bits, args.out):,} bytes at {args.bits} bits a weight")


if __name__ == "__main__":
    cli.run(main)
