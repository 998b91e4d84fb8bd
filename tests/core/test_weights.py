from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from one_layer_lt import INITS, SharedWeight
from one_layer_lt.weights import MOST_DRAWS, _normal_table, draw, draw_uniform, draw_words, fans

ROOT = Path(__file__).resolve().parents[2]
MASK = 0xFFFFFFFF

# The first values of draw((2, 3), init, seed=1, name="golden"), and the digest of a (300, 400) weight: stored tickets
# are worth nothing once these change.
GOLDEN_NAME = "encoder.layers.*.fc1[300x400]"
GOLDEN = {
    "kaiming_uniform": (
        ["0x1.6446dcp-1", "0x1.10a058p-2", "-0x1.5158dep+0", "-0x1.391c9ep-1"],
        "cfade975f263604035dc17f9f016360eb936ff5bd4b4cb988a15406d2dfef9fb",
    ),
    "kaiming_normal": (
        ["0x1.14c36ep-1", "0x1.8e43p-3", "-0x1.7d352p+0", "-0x1.ddee1p-2"],
        "f09a219aea068154f1522063b424b1f97dd6d0f71698a63d01eec621f20db5e7",
    ),
    "xavier_uniform": (
        ["0x1.13f88ap-1", "0x1.a659d8p-3", "-0x1.054ed8p+0", "-0x1.e5121ap-2"],
        "17c55d6d65026bf0575c9a314bddc4888e8c5188712788f03973f3e6b0096788",
    ),
    "xavier_normal": (
        ["0x1.acc28ep-2", "0x1.347ep-3", "-0x1.274834p+0", "-0x1.7233f2p-2"],
        "3c26ae5251bbb2832804bd2d59abf7ad8a9fbe55b405767e21f1629c0f3b29cd",
    ),
    "signed_constant": (
        ["-0x1.a20bd8p-1", "-0x1.a20bd8p-1", "0x1.a20bd8p-1", "0x1.a20bd8p-1"],
        "9049047ee68750e2482a9b773c135df80069be26601c1d1588a745c788b2ceae",
    ),
    "unsigned_constant": (
        ["0x1.a20bd8p-1", "0x1.a20bd8p-1", "0x1.a20bd8p-1", "0x1.a20bd8p-1"],
        "7ba5b3ffb96cd49668b2d25d1ae6706a10d43ceadac448ced5abd8048843e803",
    ),
    "xavier_constant": (
        ["-0x1.43d136p-1", "-0x1.43d136p-1", "0x1.43d136p-1", "0x1.43d136p-1"],
        "08fec9de6b989948f727d9f8e567be02dca3d28ca6135bcac1efa3a045cd4975",
    ),
}


def hash_of(seed: int, name: str, index: int) -> int:
    """The counter hash of one element, in plain integers."""
    h = index
    for word in struct.unpack("<II", hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8]):
        h ^= word
        h = (h ^ (h >> 16)) * 0x7FEB352D & MASK
        h = (h ^ (h >> 15)) * 0x846CA68B & MASK
        h ^= h >> 16
    return h


def single(value: float) -> float:
    """``value`` rounded to single precision."""
    result: float = struct.unpack("f", struct.pack("f", value))[0]
    return result


def uniform_of(std: float, h: int) -> float:
    return single(((h >> 8) - (2**23 - 0.5)) * single(std * math.sqrt(3) / 2**23))


def golden(init: str) -> SharedWeight:
    return SharedWeight((300, 400), init, seed=7, name=GOLDEN_NAME)


@pytest.mark.parametrize("init", INITS)
def test_draws_never_change(init: str) -> None:
    values, digest = GOLDEN[init]
    drawn = draw((2, 3), init, seed=1, name="golden")
    assert (drawn.dtype, drawn.shape, drawn.device.type) == (torch.float32, (2, 3), "cpu")
    assert drawn.flatten()[:4].tolist() == [float.fromhex(value) for value in values]
    assert golden(init).digest() == digest


def test_a_second_process_draws_the_same() -> None:
    code = (
        "import json, torch; torch.set_num_threads(2); torch.manual_seed(99)\n"
        "from one_layer_lt import INITS, SharedWeight\n"
        f"digest = lambda init: SharedWeight((300, 400), init, seed=7, name={GOLDEN_NAME!r}).digest()\n"
        "print(json.dumps({init: digest(init) for init in INITS}))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {init: golden(init).digest() for init in INITS}


@pytest.mark.parametrize("init", INITS)
def test_torchs_generator_is_neither_used_nor_moved(init: str) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = draw((20, 30), init, seed=1, name="a")
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(draw((20, 30), init, seed=1, name="a"), first)


@settings(max_examples=50)
@given(st.integers(-(2**70), 2**70), st.text(max_size=20), st.integers(1, 5), st.integers(1, 5))
def test_uniform_is_the_hash_of_seed_name_and_index(seed: int, name: str, rows: int, columns: int) -> None:
    actual = draw((rows, columns), "kaiming_uniform", seed=seed, name=name).flatten().tolist()
    std = math.sqrt(2 / columns)
    assert actual == [uniform_of(std, hash_of(seed, name, i)) for i in range(rows * columns)]


# Around the end of one block of 65,536 elements, and of the next.
INDICES = [0, 1, 65_534, 65_535, 65_536, 65_537, 90_000, 131_071, 131_072, 149_999]


def test_blocks_continue_one_another() -> None:
    std = math.sqrt(2 / 50_000)
    hashes = [hash_of(3, "w", i) for i in INDICES]
    uniform = draw((3, 50_000), "kaiming_uniform", seed=3, name="w").flatten()[INDICES]
    assert uniform.tolist() == [uniform_of(std, h) for h in hashes]
    signed = draw((3, 50_000), "signed_constant", seed=3, name="w").flatten()[INDICES]
    assert signed.tolist() == [-single(std) if h >> 31 else single(std) for h in hashes]
    normal = draw((3, 50_000), "kaiming_normal", seed=3, name="w").flatten()[INDICES]
    expected = [NormalDist(0, std).inv_cdf(((h >> 16) + 0.5) / 2**16) for h in hashes]
    np.testing.assert_allclose(normal.numpy(), expected, rtol=2e-5)  # the table has unit variance: 1e-5 more


@settings(max_examples=20)
@given(st.sampled_from(sorted(INITS)), st.integers(1, 70_000), st.integers(1, 70_000))
def test_an_element_depends_on_its_index_not_on_the_size(init: str, size: int, other: int) -> None:
    """Only the fan, which sets the scale, follows the shape: rows of one length agree where both have them."""
    short, long = sorted((size // 8 + 1, other // 8 + 1))
    shapes = ((short, 8), (long, 8))
    if INITS[init].average_fan:
        shapes = ((8, short), (8, short))
    first, second = (draw(shape, init, seed=1, name="w").flatten() for shape in shapes)
    assert torch.equal(first, second[: first.numel()])


def test_a_draw_differs_by_seed_and_by_name() -> None:
    draws = [
        draw((30, 30), "kaiming_normal", seed=seed, name=name).numpy().tobytes()
        for seed, name in [(1, "a"), (2, "a"), (1, "b"), (1, ""), (-1, "a"), (12, "a"), (1, "2a")]
    ]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize(
    ("shape", "expected"), [((3, 5), (5, 3)), ((4, 2, 3, 3), (18, 36)), ((7, 2, 5), (10, 35)), ((1000, 8), (8, 1000))]
)
def test_fans(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    assert fans(shape) == expected


@pytest.mark.parametrize("shape", [(), (5,)])
def test_a_vector_has_no_fan(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="needs at least two dimensions"):
        draw(shape, "kaiming_uniform", seed=1, name="w")


@pytest.mark.parametrize(
    ("init", "shape", "std"),
    [
        ("signed_constant", (3, 8), 0.5),  # sqrt(2 / 8)
        ("unsigned_constant", (3, 8), 0.5),
        ("xavier_constant", (24, 8), 0.25),  # sqrt(2 / 32)
        ("signed_constant", (3, 2, 2, 2), 0.5),
    ],
)
def test_constants_by_hand(init: str, shape: tuple[int, ...], std: float) -> None:
    for scale in (1.0, 3.0):
        values = set(draw(shape, init, seed=1, name="w", scale=scale).flatten().tolist())
        assert values == ({std * scale} if init == "unsigned_constant" else {std * scale, -std * scale})


@pytest.mark.parametrize(
    ("init", "std"), [(i, math.sqrt(2 / (800 if s.average_fan else 500))) for i, s in INITS.items()]
)
def test_moments_and_bounds(init: str, std: float) -> None:
    n = 300 * 500
    values = draw((300, 500), init, seed=11, name="moments").double().flatten() / std
    if init == "unsigned_constant":
        assert (values - 1).abs().max() < 1e-7
        return
    assert values.mean().abs() < 4 / math.sqrt(n)
    assert values.square().mean().sqrt().item() == pytest.approx(1, abs=0.01)
    family = INITS[init].family
    largest = {"uniform": math.sqrt(3), "sign": 1.0, "normal": 4.33}[family]  # 4.33: the quantile of 1 - 2**-17
    assert largest * 0.999 - (0.5 if family == "normal" else 0) < values.abs().max() <= largest * (1 + 1e-6)
    fourth = {"uniform": 1.8, "sign": 1.0, "normal": 3.0}[family]
    assert values.pow(4).mean().item() == pytest.approx(fourth, abs=0.1)
    neighbours = (values[1:] * values[:-1]).mean().item()
    assert abs(neighbours) < 4 / math.sqrt(n)


@pytest.mark.parametrize("init", ["kaiming_uniform", "kaiming_normal", "signed_constant"])
def test_two_names_and_two_seeds_are_uncorrelated(init: str) -> None:
    keys = [(1, "layers.0"), (1, "layers.1"), (2, "layers.0"), (1, "scores:layers.0")]
    draws = [draw((200, 250), init, seed=seed, name=name).double().flatten().numpy() for seed, name in keys]
    correlations = np.corrcoef(draws) - np.eye(len(keys))
    assert np.abs(correlations).max() < 4.5 / math.sqrt(50_000)


def test_draw_uniform_stays_within_its_bound() -> None:
    values = draw_uniform((100, 1000), 0.25, seed=1, name="w")
    assert values.abs().max() <= 0.25
    assert values.abs().max() > 0.2499
    assert values.double().square().mean().item() == pytest.approx(0.0625 / 3, rel=0.01)


def test_normal_table() -> None:
    table = _normal_table()
    assert (table.shape, table.dtype) == ((65_536,), np.float32)
    assert np.array_equal(table, -table[::-1]), "not symmetric"
    assert (np.diff(table) > 0).all()
    assert np.square(table.astype(np.float64)).mean() == pytest.approx(1, abs=1e-7)
    digest = hashlib.sha256(table.astype("<f4").tobytes()).hexdigest()
    assert digest == "8babbcaf96568f10165a1eab530c0e5c92d04de96761b6dbb3dadfa94baba37f"


def test_no_libm_can_change_the_normal_table() -> None:
    """Quantiles in double precision stay clear of where rounding to single precision turns, by 2,000 of their ulps.

    libm's logarithm errs by an ulp or so, and the quantile multiplies that by little.
    """
    half = [NormalDist().inv_cdf(0.5 + (i + 0.5) / 2**16) for i in range(2**15)]
    deviation = math.sqrt(math.fsum(z * z for z in half) / 2**15)
    exact = np.array(half) / deviation
    rounded = exact.astype(np.float32)
    assert np.array_equal(rounded, _normal_table()[2**15 :])
    for towards in (0, np.inf):
        neighbour = np.nextafter(rounded, np.float32(towards)).astype(np.float64)
        turn = (rounded.astype(np.float64) + neighbour) / 2
        assert (np.abs(exact - turn) / exact).min() > 2_000 * 2**-52


def test_shared_weight_is_a_buffer_that_is_never_saved() -> None:
    shared = SharedWeight((3, 4), "kaiming_uniform", seed=1, name="w")
    assert shared.state_dict() == {}
    assert list(shared.parameters()) == []
    assert [name for name, _ in shared.named_buffers()] == ["weight"]
    assert shared.half().weight.dtype == torch.float16


def test_an_existing_weight_is_copied_frozen_and_saved() -> None:
    weight = torch.nn.Parameter(torch.randn(3, 4))
    shared = SharedWeight.of(weight, name="w")
    saved = shared.state_dict()
    assert list(saved) == ["weight"]
    assert torch.equal(saved["weight"], weight)
    assert not shared.weight.requires_grad
    weight.data.zero_()
    assert shared.weight.any(), "not a copy"


def test_digest_tells_dtype_shape_and_bits_apart() -> None:
    shared = SharedWeight((6, 4), "kaiming_uniform", seed=1, name="w")
    digest = shared.digest()
    assert SharedWeight.of(shared.weight, name="other").digest() == digest
    assert SharedWeight.of(shared.weight.t().contiguous().t(), name="turned").digest() == digest
    assert SharedWeight.of(shared.weight.view(4, 6), name="reshaped").digest() != digest
    flipped = shared.weight.clone()
    flipped[5, 3] *= -1
    assert SharedWeight.of(flipped, name="w").digest() != digest
    halves = [SharedWeight.of(shared.weight.to(dtype), name="w").digest() for dtype in (torch.half, torch.bfloat16)]
    assert len({digest, *halves}) == 3


def test_digest_by_hand() -> None:
    shared = SharedWeight.of(torch.tensor([[1.0, -2.0]]), name="w")
    expected = hashlib.sha256(b"torch.float32(1, 2)" + struct.pack("<2f", 1.0, -2.0)).hexdigest()
    assert shared.digest() == expected


def test_pickled_weights_come_back() -> None:
    shared = SharedWeight((3, 4), "kaiming_normal", seed=1, name="w")
    assert pickle.loads(pickle.dumps(shared)).digest() == shared.digest()


@pytest.mark.parametrize("number", [1, 2, MOST_DRAWS])
def test_a_redraw_by_hand(number: int) -> None:
    """A quarter of the unused elements, by the words that the draw's number gives; those are of its draw."""
    shared = SharedWeight((8, 16), "kaiming_uniform", seed=1, name="w", scale=2.0, redrawn=True)
    first = shared.weight.clone()
    unused = torch.arange(128).view(8, 16) % 3 != 0
    shared.redraw(number, unused, 0.25)
    words = torch.from_numpy(draw_words(128, seed=1, name=f"w@{number}:chosen").astype(np.int64)).view(8, 16)
    chosen = (words < 2**30) & unused
    assert 0 < int(chosen.sum()) < int(unused.sum())
    again = draw((8, 16), "kaiming_uniform", seed=1, name=f"w@{number}", scale=2.0)
    assert torch.equal(shared.weight, torch.where(chosen, again, first))
    assert torch.equal(shared.redraws, chosen.short() * number)
    assert shared.draws == number
    assert shared.drawn_anew().equal(shared.weight)


@pytest.mark.parametrize("number", [-1, 0, 32_768])
def test_a_draw_whose_number_a_ticket_cannot_hold(number: int) -> None:
    shared = SharedWeight((4, 4), "kaiming_uniform", seed=1, name="w", redrawn=True)
    first = shared.weight.clone()
    with pytest.raises(ValueError, match=f"w: draw {number} is beyond 1 to 32,767: give the rule a longer period"):
        shared.redraw(number, torch.ones(4, 4, dtype=torch.bool), 1.0)
    assert torch.equal(shared.weight, first)
    assert not shared.redraws.any()
    assert shared.draws == 0


def test_what_is_filled_anew_has_not_been_drawn_again() -> None:
    shared = SharedWeight((8, 16), "kaiming_uniform", seed=1, name="w", redrawn=True)
    first = shared.weight.clone()
    shared.redraw(3, torch.ones(8, 16, dtype=torch.bool), 1.0)
    shared._apply(lambda tensor: torch.full_like(tensor, 7))  # as to_empty, which leaves what was in memory
    assert torch.equal(shared.weight, first)
    assert not shared.redraws.any()
    assert shared.draws == 0
