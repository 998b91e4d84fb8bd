"""Random weights: drawn from a seed by a counter hash, frozen, never stored.

Element ``i`` of a draw is a pure function of ``(seed, name, i)``, in 32-bit wrapping integer arithmetic followed by at
most one rounded multiplication, so that every platform draws the same bits.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Any, Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

_BLOCK = 1 << 16  # elements hashed at a time: scratch stays in the processor's cache
_TABLE_BITS = 15


@dataclass(frozen=True)
class Init:
    """How a random weight is drawn: the form of its values and the fan that sets their standard deviation.

    ``family`` is ``uniform``, ``normal``, ``sign`` (plus or minus one constant) or ``one`` (one constant).
    The standard deviation is ``sqrt(2 / fan_in)`` (He et al. 2015, section 2.2), or ``sqrt(2 / (fan_in + fan_out))``
    with ``average_fan`` (Glorot & Bengio 2010, equation 16).
    """

    family: str
    average_fan: bool = False

    def std(self, shape: tuple[int, ...]) -> float:
        fan_in, fan_out = fans(shape)
        return math.sqrt(2.0 / (fan_in + fan_out)) if self.average_fan else math.sqrt(2.0 / fan_in)


INITS: dict[str, Init] = {
    "kaiming_uniform": Init("uniform"),
    "kaiming_normal": Init("normal"),
    "xavier_uniform": Init("uniform", average_fan=True),
    "xavier_normal": Init("normal", average_fan=True),
    "signed_constant": Init("sign"),
    "unsigned_constant": Init("one"),
    "xavier_constant": Init("sign", average_fan=True),
}

MOST_DRAWS = 2**15 - 1  # of one weight: their numbers are int16
VECTOR = 1_048_573  # length of the one random vector of share ``vector``: a prime, so that no two rows are alike

EXISTING = "existing"  # not drawn: the weight that the module holds when it is converted


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of shape (out, in, *kernel). Raises ``ValueError`` below two dimensions."""
    if len(shape) < 2:
        raise ValueError(f"a weight of shape {tuple(shape)} has no fan: it needs at least two dimensions")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def draw(shape: tuple[int, ...], init: str, *, seed: int, name: str, scale: float = 1.0, period: int = 0) -> Tensor:
    """Draw a float32 CPU tensor of ``shape``: a pure function of the arguments, the same bits on every platform.

    ``scale`` multiplies the standard deviation of ``init`` (a key of ``INITS``, else ``KeyError``). With a ``period``
    the draw repeats after so many elements.
    """
    spec, shape = INITS[init], tuple(shape)
    std, size = spec.std(shape) * scale, math.prod(shape)
    once = _fill((min(size, period or size),), spec.family, std, _key(seed, name))
    if once.numel() < size:
        once = once.repeat(-(-size // period))[:size].clone()
    return once.view(shape)


def draw_uniform(shape: tuple[int, ...], bound: float, *, seed: int, name: str) -> Tensor:
    """Draw a float32 CPU tensor uniform in (-bound, bound), by the same hash as ``draw``."""
    return _fill(tuple(shape), "uniform", bound / math.sqrt(3.0), _key(seed, name))


def draw_words(n: int, *, seed: int, name: str, first: int = 0) -> npt.NDArray[np.uint32]:
    """``n`` uniform 32-bit words, by the same hash as ``draw``: those from the element ``first`` on."""
    words, scratch, key = np.empty(n, np.uint32), np.empty(min(n, _BLOCK), np.uint32), _key(seed, name)
    for start in range(0, n, _BLOCK):
        block = words[start : start + _BLOCK]
        _counter_hash(np.arange(first + start, first + start + block.size), key, block, scratch[: block.size])
    return words


class SharedWeight(nn.Module):
    """One frozen random weight, referenced by every module that uses it.

    The tensor ``weight`` (of ``shape``, drawn in float32) is a non-persistent buffer: it follows the model's device
    and dtype once for all users, and never enters a state dict. Only a weight that cannot be drawn again (``of``) does.

    Where elements are drawn again (``redraw``), the state dict holds what draw each is of: ``redraws``, int16, of
    ``shape``, and ``last_draw``, int64, of shape ().
    """

    weight: Tensor
    redraws: Tensor
    last_draw: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        init: str,
        *,
        seed: int,
        name: str,
        scale: float = 1.0,
        period: int = 0,
        redrawn: bool = False,
    ) -> None:
        super().__init__()
        self.name, self.init, self.seed, self.scale, self.period = name, init, seed, scale, period
        weight = draw(shape, init, seed=seed, name=name, scale=scale, period=period)
        self.register_buffer("weight", weight, persistent=False)
        self.redrawn = redrawn
        if redrawn:
            self.register_buffer("redraws", torch.zeros(tuple(shape), dtype=torch.int16))
            self.register_buffer("last_draw", torch.zeros((), dtype=torch.int64))

    @classmethod
    def of(cls, weight: Tensor, *, name: str) -> SharedWeight:
        """Freeze a copy of ``weight`` as it is, under init ``existing``: a persistent buffer, saved with the model."""
        shared = cls.__new__(cls)
        nn.Module.__init__(shared)
        shared.name, shared.init, shared.seed, shared.scale, shared.period = name, EXISTING, 0, 1.0, 0
        shared.redrawn = False
        shared.register_buffer("weight", weight.detach().clone())
        return shared

    @property
    def draws(self) -> int:
        """The number of the last draw; 0 where nothing was drawn again."""
        return int(self.last_draw) if self.redrawn else 0

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> SharedWeight:
        probe = torch.tensor([0.1875, -5.5], device=self.weight.device)
        super()._apply(fn, recurse)
        kept = self.weight.device.type == "meta" or (
            probe.device.type != "meta" and torch.equal(fn(probe).to("cpu", torch.float32), probe.cpu())
        )
        if not kept and self.init != EXISTING:
            # ``to_empty`` allocates and fills nothing; a random weight is in no state dict that would.
            drawn = draw(tuple(self.weight.shape), self.init, **self._drawn_by, name=self.name)
            self.weight.copy_(drawn)
            if self.redrawn:
                self.redraws.zero_()
                self.last_draw.zero_()
        return self

    def drawn_anew(self) -> Tensor:
        """What the seed gives, float32 on the CPU. Raises ``ValueError`` where the weight held now is another.

        In-place writes through ``.data`` leave no other trace.
        """
        fresh = SharedWeight(
            tuple(self.weight.shape), self.init, name=self.name, redrawn=self.draws > 0, **self._drawn_by
        )
        if self.draws:
            fresh.restore(self.redraws.cpu())
        if not torch.equal(fresh.weight.to(self.weight), self.weight):
            raise ValueError(
                f"the random weight {self.name} is no longer what its seed gives: something has written into it, or "
                "changed its type and back; tickets and checkpoints do not hold it, so mask a new model"
            )
        return fresh.weight

    @property
    def _drawn_by(self) -> dict[str, Any]:
        return {"seed": self.seed, "scale": self.scale, "period": self.period}

    def redraw(self, number: int, unused: Tensor, fraction: float) -> None:
        """Draw again, as draw ``number`` (from 1), a ``fraction`` of the elements where ``unused`` (bool) holds."""
        if not 1 <= number <= MOST_DRAWS:
            raise ValueError(f"{self.name}: draw {number} is beyond 1 to {MOST_DRAWS:,}: give the rule a longer period")
        words = draw_words(unused.numel(), seed=self.seed, name=f"{self.name}@{number}:chosen")
        chosen = torch.from_numpy(words < round(fraction * 2**32)).view(unused.shape).to(unused.device) & unused
        self.redraws[chosen] = number
        self.last_draw.fill_(number)
        self._place(number, chosen.flatten().nonzero().flatten().cpu().numpy())

    def restore(self, redraws: Tensor) -> None:
        """Make each element what draw ``redraws`` (integers, of the weight's shape) says."""
        self.redraws.copy_(redraws)
        self.weight.copy_(draw(tuple(self.weight.shape), self.init, name=self.name, **self._drawn_by))
        numbers = self.redraws.flatten().cpu().numpy()
        order = np.argsort(numbers, kind="stable")
        found, starts = np.unique(numbers[order], return_index=True)
        for number, at in zip(found.tolist(), np.split(order, starts[1:])):
            if number:
                self._place(number, at)

    def _place(self, number: int, at: npt.NDArray[np.int64]) -> None:
        """Make the elements ``at`` those of draw ``number``; no others are drawn."""
        init, key = INITS[self.init], _key(self.seed, f"{self.name}@{number}")
        std = init.std(tuple(self.weight.shape)) * self.scale
        drawn = _fill((at.size,), init.family, std, key, at % self.period if self.period else at)
        self.weight.view(-1)[torch.from_numpy(at).to(self.weight.device)] = drawn.to(self.weight)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        before = self.redraws.clone() if self.redrawn else None
        super()._load_from_state_dict(*args, **kwargs)
        if before is not None and not torch.equal(before, self.redraws):
            self.restore(self.redraws.clone())

    def digest(self) -> str:
        """SHA-256 (hex) of the dtype, shape and little-endian bytes held now; equal draws have equal digests."""
        weight = self.weight.detach().cpu().contiguous()
        digest = hashlib.sha256(f"{weight.dtype}{tuple(weight.shape)}".encode())
        integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[weight.element_size()]
        raw = weight.view(integers).numpy()
        digest.update(raw.astype(raw.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()

    def extra_repr(self) -> str:
        return f"{self.name!r}, {tuple(self.weight.shape)}, init={self.init!r}, seed={self.seed}"


def _key(seed: int, name: str) -> tuple[np.uint32, np.uint32]:
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    first, second = np.frombuffer(digest[:8], dtype="<u4")
    return np.uint32(first), np.uint32(second)


def _fill(
    shape: tuple[int, ...],
    family: str,
    std: float,
    key: tuple[np.uint32, np.uint32],
    at: npt.NDArray[np.int64] | None = None,
) -> Tensor:
    """Values of a family. at: which elements of the draw they are; default: the first."""
    out = np.empty(math.prod(shape), dtype=np.float32)
    if family == "one":
        out.fill(np.float32(std))
        return torch.from_numpy(out).reshape(shape)
    words, scratch = np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.uint32)
    for start in range(0, out.size, _BLOCK):
        block = out[start : start + _BLOCK]
        hashes = words[: block.size]
        counters = np.arange(start, start + block.size) if at is None else at[start : start + block.size]
        _counter_hash(counters, key, hashes, scratch[: block.size])
        _FAMILIES[family](hashes, std, block)
    return torch.from_numpy(out).reshape(shape)


def _counter_hash(
    counters: npt.NDArray[np.int64], key: tuple[np.uint32, np.uint32], out: npt.NDArray, scratch: npt.NDArray
) -> None:
    """Hash the ``counters``, modulo 2^32, into ``out``: lowbias32 twice, keyed before each.

    With one round, two draws could hold the same run of values where their keyed counters overlap.
    """
    out[:] = counters.astype(np.uint32)
    for word in key:
        out ^= word
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, None)):
            np.right_shift(out, np.uint32(shift), out=scratch)
            out ^= scratch
            if factor is not None:
                out *= np.uint32(factor)


def _uniform(hashes: npt.NDArray, std: float, out: npt.NDArray) -> None:
    # 24 bits, centred: exact in float32, so that the product alone rounds.
    np.subtract((hashes >> np.uint32(8)).astype(np.float32), np.float32(2**23 - 0.5), out=out)
    out *= np.float32(std * math.sqrt(3.0) / 2**23)


def _normal(hashes: npt.NDArray, std: float, out: npt.NDArray) -> None:
    np.take(_normal_table(), hashes >> np.uint32(31 - _TABLE_BITS), out=out)
    out *= np.float32(std)


def _sign(hashes: npt.NDArray, std: float, out: npt.NDArray) -> None:
    bits = np.array(std, np.float32).view(np.uint32)
    np.bitwise_or(hashes & np.uint32(1 << 31), bits, out=out.view(np.uint32))


_FAMILIES = {"uniform": _uniform, "normal": _normal, "sign": _sign}


@cache
def _normal_table() -> npt.NDArray:
    """Standard normal quantiles at the midpoints of 2**16 equal steps of probability, float32, unit variance.

    A table, since libm's last bits differ between platforms; rounding to float32 hides them.
    """
    steps = 1 << _TABLE_BITS
    inverse = NormalDist().inv_cdf
    half = [inverse(0.5 + (i + 0.5) / (2 * steps)) for i in range(steps)]
    deviation = math.sqrt(math.fsum(z * z for z in half) / steps)
    upper = np.array([z / deviation for z in half], dtype=np.float64)
    return np.concatenate([-upper[::-1], upper]).astype(np.float32)
