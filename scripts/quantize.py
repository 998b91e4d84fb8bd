"""Round a dense model's weights to a few bits, to compare tickets with the small dense models that people ship.

python scripts/quantize.py runs/dense/checkpoint_best.pt --bits 8 --out runs/dense/int8.pt

Each row of a matrix gets one float16 scale and whole numbers (symmetric, by its largest value), the usual weight-only
form, and these are Huffman-coded as tickets are; activations stay in float. The file written holds the rounded weights
in float32, so that scripts/score.py translates with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from data_prep.lib import cli
from one_layer_lt.ticket.planes import compress
from scripts.average import load, save

BITS = (8, 4, 2)


def integers(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Whole numbers from -(2^(bits-1) - 1) on, int8 of the matrix's shape, and each row's scale, (rows, 1) float16."""
    most = 2 ** (bits - 1) - 1
    scale = (weight.abs().amax(1, keepdim=True) / most).half().clamp_min(torch.finfo(torch.float16).smallest_normal)
    return (weight / scale.float()).round().clamp(-most, most).to(torch.int8), scale


def rounded(weight: Tensor, bits: int) -> Tensor:
    """A matrix with each row rounded to whole numbers times its scale."""
    numbers, scale = integers(weight, bits)
    return numbers * scale.float()


def size(tensors: dict[str, Tensor], bits: int) -> int:
    """Bytes of a model: matrices at ``bits`` a weight, coded, and a scale a row (32: as they are), all else float32."""
    total = 0
    for tensor in _untied(tensors):
        if tensor.dim() == 2 and bits < 32:
            total += len(compress(packed(integers(tensor, bits)[0], bits))[1]) + 2 * len(tensor)
        elif tensor.numel() > 1:  # not fairseq's marks of versions
            total += 4 * tensor.numel()
    return total


def packed(numbers: Tensor, bits: int) -> bytes:
    """Whole numbers of so many bits, as many to a byte as it holds, the first lowest."""
    flat = numbers.flatten().to(torch.int16) % 2**bits
    each = 8 // bits
    flat = torch.nn.functional.pad(flat, (0, -len(flat) % each)).view(-1, each)
    shifts = torch.arange(0, 8, bits, dtype=torch.int16)
    return bytes((flat << shifts).sum(1).to(torch.uint8).numpy().tobytes())


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
