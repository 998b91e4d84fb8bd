"""The device side: what one program does with its block of elements.

Pointers: ``bits_ptr`` holds the scores' bits as int32 or int16; weights, gradients and results are float32, float16, or
int16 for the bits of bfloat16. ``n`` elements, ``WIDTH`` bits a score.
"""

# mypy: allow-untyped-defs

import triton
import triton.language as tl

DIGITS = tl.constexpr(256)  # radix of a pass: 8 bits
ROW = tl.constexpr(256 + 2)  # what a pass leaves: its histogram, the key's digits so far, how many to keep of those


@triton.jit
def _load(ptr, at, inside):
    value = tl.load(ptr + at, mask=inside, other=0)
    if ptr.dtype.element_ty == tl.int16:
        value = (value.to(tl.int32) << 16).to(tl.float32, bitcast=True)
    else:
        value = value.to(tl.float32)
    return value


@triton.jit
def _store(ptr, at, value, inside):
    if ptr.dtype.element_ty == tl.int16:  # to nearest, ties to even
        bits = value.to(tl.uint32, bitcast=True)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        rounded = tl.where(value != value, 0x7FC0, rounded)  # not a number
        tl.store(ptr + at, rounded.to(tl.uint16).to(tl.int16, bitcast=True), mask=inside)
    else:
        tl.store(ptr + at, value.to(ptr.dtype.element_ty), mask=inside)


@triton.jit
def _keys(bits_ptr, at, inside, WIDTH: tl.constexpr, MAGNITUDE: tl.constexpr):
    """Unsigned integers in the order of the scores, or of their magnitudes; zeros of both signs are equal."""
    HALF: tl.constexpr = 1 << (WIDTH - 1)
    bits = tl.load(bits_ptr + at, mask=inside, other=0).to(tl.int32)
    key = (bits & (HALF - 1)).to(tl.uint32)
    if not MAGNITUDE:
        key = tl.where(bits < 0, HALF - key, HALF + key)
    return key


@triton.jit
def _mixed(word):
    """lowbias32, as in weights.py."""
    word = (word ^ (word >> 16)) * 0x7FEB352D
    word = (word ^ (word >> 15)) * 0x846CA68B
    return word ^ (word >> 16)


@triton.jit
def _weights(weight_ptr, factor, first, second, at, inside, FAMILY: tl.constexpr):
    if FAMILY == "stored":
        weight = _load(weight_ptr, at, inside)
    else:
        word = _mixed(at.to(tl.uint32) ^ first.to(tl.uint32, bitcast=True))
        word = _mixed(word ^ second.to(tl.uint32, bitcast=True))
        if FAMILY == "uniform":
            weight = ((word >> 8).to(tl.float32) - 8388607.5) * factor
        else:
            weight = tl.where(word >> 31 == 1, -1.0, 1.0) * factor
    return weight


@triton.jit
def histogram_kernel(
    rows_ptr, bits_ptr, n, STEP: tl.constexpr, WIDTH: tl.constexpr, MAGNITUDE: tl.constexpr, BLOCK: tl.constexpr
):
    """Count the next digit of the keys that begin with the digits found so far."""
    SHIFT: tl.constexpr = WIDTH - 8 * (STEP + 1)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    key = _keys(bits_ptr, at, inside, WIDTH, MAGNITUDE)
    if STEP > 0:
        prefix = tl.load(rows_ptr + (STEP - 1) * ROW + DIGITS).to(tl.uint32, bitcast=True)
        inside &= (key >> (SHIFT + 8)) == prefix
    digit = tl.where(inside, ((key >> SHIFT) & 0xFF).to(tl.int32), 0)
    bins = tl.arange(0, DIGITS)
    others = BLOCK - tl.sum(inside.to(tl.int32), 0)  # they were counted as zeros
    counts = tl.histogram(digit, DIGITS) - tl.where(bins == 0, others, 0)
    tl.atomic_add(rows_ptr + STEP * ROW + bins, counts, mask=counts > 0)


@triton.jit(do_not_specialize=["k"])
def digit_kernel(rows_ptr, k, STEP: tl.constexpr):
    """Choose the digit that holds the k-th largest key: one program. With k = 0 there is none, and 0 are kept."""
    bins = tl.arange(0, DIGITS)
    counts = tl.load(rows_ptr + STEP * ROW + bins)
    above = tl.sum(counts, 0) - tl.cumsum(counts, 0)
    if STEP > 0:
        before = rows_ptr + (STEP - 1) * ROW + DIGITS
        prefix, room = tl.load(before) << 8, tl.load(before + 1)
    else:
        prefix, room = 0, k
    here = (above < room) & (above + counts >= room)
    after = rows_ptr + STEP * ROW + DIGITS  # not over what was read: threads would race
    tl.store(after, prefix | tl.sum(tl.where(here, bins, 0), 0))
    tl.store(after + 1, room - tl.sum(tl.where(here, above, 0), 0))


@triton.jit
def ties_kernel(ties_ptr, kth_ptr, bits_ptr, n, WIDTH: tl.constexpr, MAGNITUDE: tl.constexpr, BLOCK: tl.constexpr):
    """How many keys of each block equal the k-th largest."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    key = _keys(bits_ptr, at, inside, WIDTH, MAGNITUDE)
    tied = inside & (key == tl.load(kth_ptr).to(tl.uint32, bitcast=True))
    tl.store(ties_ptr + tl.program_id(0), tl.sum(tied.to(tl.int32), 0))


@triton.jit(do_not_specialize=["first", "second"])
def apply_kernel(
    out_ptr, kth_ptr, ties_ptr, through_ptr, bits_ptr, weight_ptr, factor, first, second, n,
    FAMILY: tl.constexpr, WIDTH: tl.constexpr, MAGNITUDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Kept: above the k-th largest key, or equal to it and among the first by index that there is room for."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    key = _keys(bits_ptr, at, inside, WIDTH, MAGNITUDE)
    kth, room = tl.load(kth_ptr).to(tl.uint32, bitcast=True), tl.load(kth_ptr + 1)
    tied = inside & (key == kth)
    before = tl.load(through_ptr + tl.program_id(0)) - tl.load(ties_ptr + tl.program_id(0))
    rank = before + tl.cumsum(tied.to(tl.int32), 0)  # from 1
    keep = ((key > kth) | (tied & (rank <= room))) & (room > 0)  # no room: k = 0
    value = keep.to(tl.float32)
    if FAMILY != "none":  # multiplied, so that a negative weight leaves -0
        value *= _weights(weight_ptr, factor, first, second, at, inside, FAMILY)
    _store(out_ptr, at, value, inside)


@triton.jit(do_not_specialize=["first", "second"])
def grad_kernel(
    out_ptr, grad_ptr, bits_ptr, weight_ptr, factor, first, second, n,
    FAMILY: tl.constexpr, MAGNITUDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    value = _load(grad_ptr, at, inside) * _weights(weight_ptr, factor, first, second, at, inside, FAMILY)
    if MAGNITUDE:  # a product, since 0 - x would lose the sign of a zero
        value *= tl.where(tl.load(bits_ptr + at, mask=inside, other=0) < 0, -1.0, 1.0)
    _store(out_ptr, at, value, inside)


@triton.jit(do_not_specialize=["first", "second"])
def draw_kernel(out_ptr, weight_ptr, factor, first, second, n, FAMILY: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    _store(out_ptr, at, _weights(weight_ptr, factor, first, second, at, at < n, FAMILY), at < n)
