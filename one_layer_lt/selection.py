"""Exact top-k selection: which k of n scores are kept. The only hot loop.

Exactly k are kept; ties go to the lowest index. Scores must be finite.
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_MAGNITUDE_BITS = np.int32(0x7FFFFFFF)
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
        raise ValueError(f"cannot keep {k} of {n} scores")
    if k == 0:
        return out.zero_()
    if k == n:
        return out.fill_(1)
    if scores.device.type == "cpu" and scores.dtype != torch.float64:  # its keys hold 32 bits
        return _select_cpu(out, scores.detach(), k, magnitude)
    return _select_device(out, scores.detach(), k, magnitude)


def _select_cpu(out: Tensor, scores: Tensor, k: int, magnitude: bool) -> Tensor:
    exact = scores if scores.dtype == torch.float32 else scores.float()
    keys, tied = _sorted_at(exact, scores.numel() - k, magnitude)
    threshold = _key_to_float(keys[scores.numel() - k], magnitude)
    if magnitude:
        torch.abs(scores, out=out)
        out.ge_(threshold)
    else:
        torch.ge(scores, threshold, out=out)
    if tied:
        _drop_excess(out, exact, k, threshold, magnitude)
    return out


def _sorted_at(scores: Tensor, kth: int, magnitude: bool) -> tuple[npt.NDArray, bool]:
    """Integer keys in the order of the scores, partitioned at ``kth``, and whether its value also lies below.

    Integers, since numpy's SIMD quickselect is several times faster on them than on floats.
    """
    keys = _scratch(scores.numel())
    values = scores.contiguous().view(-1).numpy()
    if magnitude:
        np.bitwise_and(values.view(np.int32), _MAGNITUDE_BITS, out=keys)
    else:
        np.add(values, np.float32(0), out=keys.view(np.float32))  # -0 becomes +0: they tie
        keys ^= (keys >> np.int32(31)) & _MAGNITUDE_BITS
    keys.partition(kth)
    return keys, bool(keys[:kth].max() == keys[kth])


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


def _scratch(n: int) -> npt.NDArray:
    """A reused buffer, one a thread: selection allocates nothing in a training step."""
    buffer = getattr(_local, "buffer", None)
    if buffer is None or buffer.size < n:
        buffer = _local.buffer = np.empty(n, np.int32)
    return buffer[:n]


def _select_device(out: Tensor, scores: Tensor, k: int, magnitude: bool) -> Tensor:
    """The same selection in torch operations that never wait for the device, for any dtype."""
    flat = scores.reshape(-1)
    keys = flat.abs() if magnitude else flat
    threshold = torch.topk(keys, k, sorted=False).values.min()
    above, tied = keys > threshold, keys == threshold
    room = k - above.sum()
    mask = above | (tied & (tied.cumsum(0) <= room))
    return out.copy_(mask.view(out.shape))
