"""Mask planes as bytes: packing, the codings, the bound, and streams that lie about their size."""

from __future__ import annotations

import math
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from one_layer_lt.ticket.planes import (
    EXPANSION,
    clean_padding,
    compress,
    count_ones,
    entropy,
    expand,
    pack,
    packed_size,
    unpack,
)

planes = arrays.arrays(np.bool_, st.integers(0, 200))


def deflated(data: bytes, level: int = 9) -> bytes:
    coder = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


class TestPacking:
    def test_by_hand(self) -> None:
        """Bits 0, 3 and 8: 1 + 8 in the first byte, 1 in the second."""
        plane = np.array([1, 0, 0, 1, 0, 0, 0, 0, 1], dtype=bool)
        packed = pack(plane)
        assert packed.tolist() == [9, 1]
        assert packed.dtype == np.uint8
        assert unpack(packed, 9).tolist() == [1, 0, 0, 1, 0, 0, 0, 0, 1]
        assert count_ones(packed) == 3

    @pytest.mark.parametrize(("n", "size"), [(0, 0), (1, 1), (8, 1), (9, 2), (2**31, 2**28)])
    def test_size(self, n: int, size: int) -> None:
        assert packed_size(n) == size

    @pytest.mark.parametrize(
        ("packed", "n", "clean"),
        [
            ([255], 8, True),
            ([7], 3, True),
            ([15], 3, False),
            ([128], 3, False),
            ([255, 1], 9, True),
            ([0, 2], 9, False),
        ],
    )
    def test_padding(self, packed: list[int], n: int, clean: bool) -> None:
        assert clean_padding(np.array(packed, np.uint8), n) is clean

    @given(planes)
    def test_round_trip(self, plane: np.ndarray) -> None:
        packed = pack(plane)
        assert packed.size == packed_size(plane.size)
        assert clean_padding(packed, plane.size)
        assert count_ones(packed) == plane.sum()
        unpacked = unpack(packed, plane.size)
        assert unpacked.dtype == np.uint8
        assert np.array_equal(unpacked, plane)

    @given(planes, st.integers(0, 10**6))
    def test_each_bit_after_the_end_is_seen(self, plane: np.ndarray, chosen: int) -> None:
        packed, n = pack(plane), plane.size
        if n % 8:
            packed[-1] |= 1 << (n % 8 + chosen % (8 - n % 8))
            assert not clean_padding(packed, n)

    def test_more_ones_than_a_byte_counts(self) -> None:
        packed = np.broadcast_to(np.uint8(255), 1 << 16)
        assert count_ones(packed) == 1 << 19


class TestCoding:
    @given(
        st.binary(max_size=500) | st.builds(bytes.__mul__, st.binary(max_size=3), st.integers(0, 3000)), st.booleans()
    )
    @example(b"", True)
    @example(b"\0" * 100_000, True)
    @example(b"\0" * 100_000, False)
    def test_round_trip(self, data: bytes, huffman_only: bool) -> None:
        coding, stored = compress(data, huffman_only=huffman_only)
        assert len(stored) <= len(data) <= EXPANSION * len(stored)
        assert expand(stored, coding, len(data)) == data

    def test_random_bits_are_left_as_they_are(self) -> None:
        data = np.random.default_rng(0).bytes(1000)
        assert compress(data) == ("raw", data)

    def test_one_byte_over_and_over_takes_a_bit_each(self) -> None:
        coding, stored = compress(b"\0" * 80_000)
        assert coding == "deflate"
        assert 10_000 <= len(stored) < 10_100

    def test_no_more_than_may_be_expanded_is_compressed(self) -> None:
        assert compress(b"\0" * 80_000, huffman_only=False) == ("raw", b"\0" * 80_000)

    def test_repeats_are_found_where_asked(self) -> None:
        text = b"".join(b"alpha bravo charlie %d\n" % number for number in range(100))
        coding, stored = compress(text, huffman_only=False)
        assert coding == "deflate"
        assert len(stored) < len(compress(text)[1]) / 2

    @pytest.mark.parametrize("keep", [0.5, 0.3, 0.1])
    def test_stored_at_the_entropy(self, keep: float) -> None:
        """Masks of one rule and keep ratio are stored as one: for a Transformer, some millions of bits."""
        n = 2_400_000
        k = round(keep * n)
        plane = np.zeros(n, bool)
        plane[np.random.default_rng(7).permutation(n)[:k]] = True
        _, stored = compress(pack(plane).tobytes())
        assert entropy(n, k) * 0.999 < 8 * len(stored) <= 1.02 * entropy(n, k)

    def test_same_bytes_each_time(self) -> None:
        data = bytes(range(100)) * 50
        assert compress(data) == compress(bytes(bytearray(data)))


class TestRefused:
    def test_unknown_coding(self) -> None:
        with pytest.raises(ValueError, match="unknown coding 'zip'; known are raw, deflate"):
            expand(b"x", "zip", 1)

    @pytest.mark.parametrize("size", [0, 2, 4, -1])
    def test_raw_of_another_size(self, size: int) -> None:
        with pytest.raises(ValueError, match="holds 3 bytes"):
            expand(b"abc", "raw", size)

    @pytest.mark.parametrize("size", [0, 99, 101])
    def test_stream_of_another_size(self, size: int) -> None:
        with pytest.raises(ValueError, match=f"just {size} bytes"):
            expand(deflated(bytes(range(100))), "deflate", size)

    def test_bytes_after_the_stream(self) -> None:
        with pytest.raises(ValueError, match="just 100 bytes"):
            expand(deflated(bytes(range(100))) + b"\0", "deflate", 100)

    def test_stream_without_its_end(self) -> None:
        """All the data are there, but the stream goes on."""
        coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        open_ended = coder.compress(bytes(range(100))) + coder.flush(zlib.Z_SYNC_FLUSH)
        with pytest.raises(ValueError, match="just 100 bytes"):
            expand(open_ended, "deflate", 100)

    @pytest.mark.parametrize("stored", [b"\xff" * 9, b"\x07", zlib.compress(b"with a header"), b""])
    def test_no_stream(self, stored: bytes) -> None:
        with pytest.raises(ValueError, match=r"damaged deflate stream|cannot hold|just"):
            expand(stored, "deflate", 13)

    def test_bomb_that_claims_its_size(self) -> None:
        bomb = deflated(b"\0" * (1 << 20))
        with pytest.raises(ValueError, match=f"{len(bomb):,} bytes cannot hold 1,048,576"):
            expand(bomb, "deflate", 1 << 20)

    def test_bomb_that_claims_what_is_allowed(self) -> None:
        bomb = deflated(b"\0" * (1 << 22))
        size = EXPANSION * len(bomb)
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=f"just {size:,} bytes"):
                expand(bomb, "deflate", size)
            assert tracemalloc.get_traced_memory()[1] < 4 * size  # zlib doubles its buffer as it fills
        finally:
            tracemalloc.stop()

    @given(st.binary(max_size=60), st.sampled_from(["raw", "deflate"]), st.integers(0, 1000))
    def test_any_bytes_give_their_size_or_an_error(self, stored: bytes, coding: str, size: int) -> None:
        try:
            data = expand(stored, coding, size)
        except ValueError:
            return
        assert len(data) == size


class TestEntropy:
    @pytest.mark.parametrize(
        ("n", "k", "bits"),
        [(4, 2, 4), (600_000, 300_000, 600_000), (4, 1, 8 - 3 * math.log2(3)), (9, 0, 0), (9, 9, 0), (0, 0, 0)],
    )
    def test_by_hand(self, n: int, k: int, bits: float) -> None:
        assert entropy(n, k) == pytest.approx(bits)

    @given(st.integers(1, 10**9), st.data())
    def test_the_same_for_what_is_dropped(self, n: int, data: st.DataObject) -> None:
        k = data.draw(st.integers(0, n))
        assert entropy(n, k) == pytest.approx(entropy(n, n - k))
        assert 0 <= entropy(n, k) <= n
