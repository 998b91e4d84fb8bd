"""Exact top-k selection: which k of n scores are kept. The only hot loop.

Exactly k are kept; ties go to the lowest index. Scores must be finite.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_MAGNITUDE_BITS = np.int32(0x7FFFFFFF)
_SAMPLE = (1 << 11, 1 << 15)  # at least and at most; between them a 32nd of all
_SMALL = 1 << 16  # elements: with fewer there is nothing to gain
_BLOCK = 1 << 16
_FUSED_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_FUSED_SIZE = 1 << 30  # elements: their offsets fit 32 bits
_local = threading.local()


def kept_count(keep: float, n: int) -> int:
    """``round(keep * n)``: how many of ``n`` weights the keep ratio keeps."""
    return round(keep * n)


def select_(out: Tensor, scores: Tensor, k: int, *, magnitude: bool) -> Tensor:
    """Write 1 into ``out`` where ``scores`` is among its k largest, else 0, and return ``out``.

    ``out`` and ``scores`` have the same shape, dtype and device; ``magnitude`` compares absolute values.
    Raises ``ValueError`` unless 0 <= k <= n.
    """
    n = scores.numel()
    if not 0 <= k <= n:
        raise ValueError(f"k must be from 0 to {n}, the number of scores, not {k}")
    if k == 0:
        return out.zero_()
    if k == n:
        return out.fill_(1)
    if scores.device.type == "cpu" and scores.dtype != torch.float64:  # its keys hold 32 bits
        return _select_cpu(out, scores.detach(), k, magnitude)
    return _select_device(out, scores.detach(), k, magnitude)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one dtype hold the same, the sign of a zero included."""
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[one.element_size()]
    return one.shape == other.shape and torch.equal(one.view(integers), other.view(integers))


def block_sums(tensor: Tensor) -> Tensor:
    """Sums of the bits of each 512 bytes, and the bytes of the rest: what a write into the tensor hardly leaves alone.

    Costs about a pass over it; uint8, a 64th of its size and at most 511 bytes more.
    """
    raw = tensor.detach().reshape(-1).view(torch.uint8)
    blocks = raw[: raw.numel() // 512 * 512].view(torch.int64).view(-1, 64)
    return torch.cat([blocks.sum(1).view(torch.uint8), raw[blocks.numel() * 8 :]])


def as_one(tensors: Sequence[Tensor], select: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """``select`` of all tensors' elements in one row, as tensors of their shapes: how they are ranked together."""
    selected = select(torch.cat([tensor.detach().reshape(-1) for tensor in tensors]))
    parts = selected.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors)]


def _select_cpu(out: Tensor, scores: Tensor, k: int, magnitude: bool) -> Tensor:
    exact = scores if scores.dtype == torch.float32 else scores.float()
    key, tied = _kth_key(exact.contiguous().view(-1).numpy(), scores.numel() - k, magnitude)
    threshold = _key_to_float(key, magnitude)
    if magnitude:
        torch.abs(scores, out=out)
        out.ge_(threshold)
    else:
        torch.ge(scores, threshold, out=out)
    if tied:
        _drop_excess(out, exact, k, threshold, magnitude)
    return out


def _kth_key(values: npt.NDArray, kth: int, magnitude: bool) -> tuple[np.int32, bool]:
    """The key of rank ``kth`` (from 0, ascending) among the values, and whether equal ones rank below it.

    By sampling (Floyd & Rivest 1975, "Expected time bounds for selection"): a few values bracket the wanted one, one
    pass through the processor's cache counts what lies below the bracket and collects what lies within, and only that
    is partitioned. Where the sample was misleading, all is.
    """
    if values.size >= _SMALL:
        low, high = _bracket(values, kth, magnitude)
        below, within = _split(values, low, high, magnitude)
        if below <= kth < below + within.size:
            return _partitioned(within, kth - below)
    return _partitioned(_keys(values, magnitude, _scratch("all", values.size, np.int32)), kth)


def _bracket(values: npt.NDArray, kth: int, magnitude: bool) -> tuple[np.int32, np.int32]:
    """Keys between which the one of rank ``kth`` lies, but for one time in hundreds, and a few percent of all."""
    size = min(max(values.size // 32, _SAMPLE[0]), _SAMPLE[1])
    step = values.size // size | 1  # odd: it does not stay in a few columns
    part = values[::step]
    sample = _keys(part, magnitude, _scratch("sample", part.size, np.int32))
    sample.sort()
    share = kth / values.size
    spread = 3 * math.sqrt(share * (1 - share) * sample.size) + 1
    low, high = int(share * sample.size - spread), int(share * sample.size + spread)
    return sample[max(low, 0)], sample[min(high, sample.size - 1)]


def _split(values: npt.NDArray, low: np.int32, high: np.int32, magnitude: bool) -> tuple[int, npt.NDArray]:
    """How many keys are below ``low``, and the keys from ``low`` to ``high``, both included."""
    below = 0
    within = []
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK]
        keys = _keys(block, magnitude, _scratch("block", block.size, np.int32))
        under = np.less(keys, low, out=_scratch("under", block.size, np.bool_))
        upto = np.less_equal(keys, high, out=_scratch("upto", block.size, np.bool_))
        below += int(np.count_nonzero(under))
        within.append(keys.take(np.flatnonzero(np.not_equal(under, upto, out=upto))))
    return below, np.concatenate(within)


def _partitioned(keys: npt.NDArray, kth: int) -> tuple[np.int32, bool]:
    keys.partition(kth)
    return keys[kth], bool(kth and keys[:kth].max() == keys[kth])


def _keys(values: npt.NDArray, magnitude: bool, out: npt.NDArray) -> npt.NDArray:
    """Integers in the order of the values, or of their magnitudes: numpy works faster on them than on floats."""
    if magnitude:
        return np.bitwise_and(values.view(np.int32), _MAGNITUDE_BITS, out=out)
    np.add(values, np.float32(0), out=out.view(np.float32))  # -0 becomes +0: they tie
    out ^= (out >> np.int32(31)) & _MAGNITUDE_BITS
    return out


def _key_to_float(key: np.int32, magnitude: bool) -> float:
    bits = key if magnitude or key >= 0 else key ^ _MAGNITUDE_BITS
    return float(np.int32(bits).view(np.float32))


def _drop_excess(out: Tensor, scores: Tensor, k: int, threshold: float, magnitude: bool) -> None:
    """Clear the last of the tied scores, so that exactly ``k`` remain."""
    flat = scores.reshape(-1)
    tied = ((flat.abs() if magnitude else flat) == threshold).nonzero().view(-1)
    excess = int(out.sum(dtype=torch.float64)) - k
    kept = out.view(-1) if out.is_contiguous() else out.reshape(-1)
    kept[tied[len(tied) - excess :]] = 0
    if not out.is_contiguous():
        out.copy_(kept.view(out.shape))


def _scratch(use: str, size: int, dtype: type) -> npt.NDArray:
    """A reused buffer, one a use and thread: selection allocates next to nothing in a training step."""
    buffers = _local.__dict__
    if use not in buffers or buffers[use].size < size:
        buffers[use] = np.empty(size, dtype)
    return buffers[use][:size]


def fused_kernels(*tensors: Tensor) -> ModuleType | None:
    """The module ``kernels`` where its kernels can take these tensors, all on one CUDA device; else ``None``."""
    device = tensors[0].device
    for tensor in tensors:
        if tensor.device.type != "cuda" or tensor.device != device:
            return None
        if tensor.dtype not in _FUSED_DTYPES or tensor.numel() > _FUSED_SIZE:
            return None
    return _kernels_of(device)


@cache
def _kernels_of(device: torch.device) -> ModuleType | None:
    """The module ``kernels``, after one comparison with the torch operations on ``device``."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return None  # older than what Triton supports
    try:
        from . import kernels
    except ImportError:
        return None
    scores = torch.arange(10_001, device=device).remainder(99).float() - 50
    fused, plain = torch.empty_like(scores), torch.empty_like(scores)
    try:
        kernels.select_(fused, scores, 4_321, magnitude=True)
        failure = None if torch.equal(fused, _select_plain(plain, scores, 4_321, True)) else "their selection differs"
    except Exception as error:  # no compiler, an unknown device: Triton has many ways to fail
        failure = f"{type(error).__name__}: {error}"
    if failure:
        warnings.warn(f"no Triton kernels on {device} ({failure}): torch does the same more slowly", stacklevel=2)
        return None
    return kernels


def _select_device(out: Tensor, scores: Tensor, k: int, magnitude: bool) -> Tensor:
    """The same selection without waiting for the device, for any dtype."""
    kernels = fused_kernels(out, scores)
    if kernels is None:
        return _select_plain(out, scores, k, magnitude)
    selected: Tensor = kernels.select_(out, scores, k, magnitude=magnitude)
    return selected


def _select_plain(out: Tensor, scores: Tensor, k: int, magnitude: bool) -> Tensor:
    """In torch operations."""
    flat = scores.reshape(-1)
    keys = flat.abs() if magnitude else flat
    threshold = torch.topk(keys, k, sorted=False).values.min()
    above, tied = keys > threshold, keys == threshold
    room = k - above.sum()
    mask = above | (tied & (tied.cumsum(0) <= room))
    return out.copy_(mask.view(out.shape))
