"""Mask planes as bytes: packing, the smaller of raw and Huffman-coded, and the bound that no coding beats."""

from __future__ import annotations

import math
import zlib

import numpy as np
import numpy.typing as npt

_MAX_MEM_LEVEL = 9  # zlib's: longer blocks, fewer tables
CODINGS = ("raw", "deflate")
EXPANSION = 16  # times its stored size that anything may expand to; Huffman codes alone reach 8

Bits = npt.NDArray[np.uint8]


def pack(plane: npt.NDArray[np.bool_]) -> Bits:
    """Bit i of a flat plane becomes bit ``i % 8``, lowest first, of byte ``i // 8``."""
    return np.packbits(plane, bitorder="little")


def unpack(packed: Bits, n: int) -> Bits:
    """The first ``n`` bits of ``packed``, as uint8 zeros and ones."""
    return np.unpackbits(packed, count=n, bitorder="little")


def packed_size(n: int) -> int:
    """Bytes that ``n`` bits take."""
    return -(-n // 8)


def count_ones(packed: Bits) -> int:
    """How many bits are 1."""
    return int(_ONES[packed].sum(dtype=np.int64))


def clean_padding(packed: Bits, n: int) -> bool:
    """Whether the bits after the first ``n`` are all 0."""
    return n % 8 == 0 or not int(packed[-1]) >> (n % 8)


def compress(data: bytes, *, huffman_only: bool = True) -> tuple[str, bytes]:
    """(coding, stored bytes): the smaller of ``data`` itself and a raw deflate stream.

    Random bits hold no repeats to find: coding each byte by its frequency alone is both faster and smaller.
    """
    strategy = zlib.Z_HUFFMAN_ONLY if huffman_only else zlib.Z_DEFAULT_STRATEGY
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, _MAX_MEM_LEVEL, strategy)
    coded = coder.compress(data) + coder.flush()
    small = len(coded) < len(data) <= EXPANSION * len(coded)
    return ("deflate", coded) if small else ("raw", data)


def expand(stored: bytes, coding: str, size: int) -> bytes:
    """The ``size`` bytes that were stored. Raises ``ValueError`` where they are not just that many."""
    if coding == "raw":
        if len(stored) != size:
            raise ValueError(f"holds {len(stored):,} bytes, not {size:,}")
        return stored
    if coding != "deflate":
        raise ValueError(f"unknown coding {coding!r}; known are {', '.join(CODINGS)}")
    if size > EXPANSION * len(stored):
        raise ValueError(f"{len(stored):,} bytes cannot hold {size:,}")
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = decoder.decompress(stored, size + 1)
    except zlib.error as error:
        raise ValueError(f"damaged deflate stream ({error})") from None
    if len(data) != size or not decoder.eof or decoder.unused_data:
        raise ValueError(f"does not hold just {size:,} bytes")
    return data


def entropy(n: int, k: int) -> float:
    """Bits that ``n`` independent choices take at the rate ``k / n``: on average no coding takes fewer."""
    if not 0 < k < n:
        return 0.0
    p = k / n
    return -n * (p * math.log2(p) + (1 - p) * math.log2(1 - p))


_ONES = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)
