"""Round a dense model's weights to a few bits, to compare tickets with the small dense models that people ship.

    python scripts/quantize.py runs/dense/checkpoint_best.pt --bits 4 --out runs/dense/int4.pt
    python scripts/quantize.py runs/dense2/checkpoint_best.pt --out runs/dense2/int2.pt    # of --dense --train-bits 2

Each row of a matrix becomes whole numbers and a float16 scale, chosen for the least squared error: the usual
weight-only form. A model trained with --train-bits gets the weights that it was validated with; of one that
`one-layer-lt prune` has pruned, what is pruned stays zero. The size that is
reported counts the numbers and scales Huffman-coded, as in tickets, and all other tensors in float16. Activations stay
in float. The file holds the rounded weights in float32, so that `one-layer-lt score` can translate with it.

Older results with 4 and 8 bits take each row's scale from its largest value. Their sizes count scales uncoded, and all
other tensors in float32.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

import torch
from torch import Tensor

from fairseq_plugins.checkpoints import load, save
from fairseq_plugins.commands.prune import MASK
from one_layer_lt import terminal
from one_layer_lt.cli.parser import Parser
from one_layer_lt.errors import UserError
from one_layer_lt.rounding import BITS, ScaleOf, best_scale, integers, largest, mean_scale, rounded
from one_layer_lt.ticket.planes import compress

FLOAT = 32
ORIGINAL = ".parametrizations.weight.original"


def size(tensors: dict[str, Tensor], bits: int, scale_of: ScaleOf = best_scale) -> int:
    """Bytes of a model at ``bits`` a weight: matrices and scales coded, all else float16; at 32: all float32.

    Rounded, a tensor of one value takes one number: a norm or a bias that was never trained.
    """
    # Neither fairseq's marks of versions, nor what the checkpoint says of itself.
    kept = [tensor for tensor in _untied(tensors) if tensor.numel() > 1 and tensor.is_floating_point()]
    if bits == FLOAT:
        return sum(4 * tensor.numel() for tensor in kept)
    total = 0
    for tensor in kept:
        if tensor.dim() == 2:
            numbers, scale = integers(tensor, bits, scale_of)
            total += size_of_numbers(numbers, bits) + size_of_scales(scale)
        else:
            total += 2 * (tensor.numel() if (tensor != tensor.flatten()[0]).any() else 1)
    return total


def size_of_numbers(numbers: Tensor, bits: int) -> int:
    """Bytes of whole numbers: coded, or just their bits."""
    return min(len(compress(packed(numbers, bits))[1]), -(-numbers.numel() * bits // 8))


def size_of_scales(scale: Tensor) -> int:
    """Bytes of float16 scales: their low bytes and their high ones, each coded."""
    return sum(len(compress(half.numpy().tobytes())[1]) for half in scale.view(torch.uint8).view(-1, 2).t())


def packed(numbers: Tensor, bits: int) -> bytes:
    """Whole numbers of so many bits, as many to a byte as it holds: five of three values, the first lowest."""
    values = 2 * largest(bits) + 1
    each = next(n for n in range(8, 0, -1) if values**n <= 256)
    digits = numbers.flatten().to(torch.int16) + largest(bits)
    digits = torch.nn.functional.pad(digits, (0, -len(digits) % each)).view(-1, each)
    places = torch.tensor([values**n for n in range(each)], dtype=torch.int16)
    return bytes((digits * places).sum(1).to(torch.uint8).numpy().tobytes())


def quantize(checkpoint: Path, bits: Optional[int], out: Path) -> tuple[int, int]:
    """Write the checkpoint with rounded weights to ``out``; the bits, and the bytes that the model would take.

    bits: of ``BITS``, or None for those that it was trained with, else 8. Raises ``UserError`` for a masked model.
    """
    state = load(checkpoint)
    trained = _plain_(state, checkpoint)
    bits = bits or trained or 8
    scale_of = mean_scale if bits == trained else best_scale
    bytes_ = size(state["model"], bits, scale_of)
    for tensor in _untied(state["model"]):
        if tensor.is_floating_point():
            tensor.copy_(rounded(tensor, bits, scale_of) if tensor.dim() == 2 else tensor.half())
    save(state, out)
    return bits, bytes_


def _plain_(state: dict[str, Any], path: Path) -> Optional[int]:
    """Make a checkpoint one of a plain dense model, its weights as they were trained; the bits it was trained with."""
    args = (state.get("cfg") or {}).get("model") or state.get("args") or Namespace()
    bits: Optional[int] = getattr(args, "train_bits", None)
    model = state["model"]
    if bits is not None or getattr(args, "prunable", False):
        args.train_bits, args.prunable = None, False
        for name in [name for name in model if name.endswith(MASK)]:
            model[name.replace(MASK, ORIGINAL)].mul_(model.pop(name))  # in place: tied weights stay one
        state["model"] = model = {name.replace(ORIGINAL, ".weight"): tensor for name, tensor in model.items()}
    if any(".parametrizations." in name for name in model):
        raise UserError(f"{path} is no dense model: its weights are under masks, and these take about one bit anyway")
    return bits


def _untied(tensors: dict[str, Tensor]) -> Iterable[Tensor]:
    return {tensor.data_ptr(): tensor for tensor in tensors.values()}.values()


def main() -> None:
    parser = Parser(prog="quantize.py", description=__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of a dense model")
    parser.add_argument(
        "--bits", type=int, choices=BITS, help="bits for each weight (those of its training, or else 8)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the checkpoint to write")
    args = parser.parse_args()
    bits, bytes_ = quantize(args.checkpoint, args.bits, args.out)
    print(f"{args.out}: {bytes_:,} bytes at {bits} bits a weight")


if __name__ == "__main__":
    terminal.run(main)
