"""The Triton kernels against the CPU path, bit for bit: on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import Optional

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from one_layer_lt import RULES, SharedWeight, selection
from one_layer_lt.rules import RankedRule, straight_through
from one_layer_lt.selection import _kernels_of, fused_kernels, kept_count, select_
from one_layer_lt.weights import draw

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported, which nothing above does
pytest.importorskip("triton", reason="the kernels need triton")
kernels = importlib.import_module("one_layer_lt.kernels")

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
DRAWN = ["kaiming_uniform", "xavier_uniform", "signed_constant", "xavier_constant"]

# Ties, both zeros, and numbers too small to be normal in single (1e-40) and in half precision (6e-8).
few_values = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.0 + 2**-10, 6e-8, -6e-8, 1e-40, -1e-40, -3e4])
many_values = st.floats(-6e4, 6e4, width=32)
score_lists = st.lists(few_values, min_size=1, max_size=90) | st.lists(many_values, min_size=1, max_size=90)
blocks = st.sampled_from([16, 32, 128]) if DEVICE == "cpu" else st.sampled_from([256, 1024])
dtypes = st.sampled_from(DTYPES)
FUSED = ("edge_popup", "topk")
rules = st.sampled_from(FUSED)


def on_device(tensor: Tensor) -> Tensor:
    return tensor.to(DEVICE)


def assert_same_bits(actual: Tensor, expected: Tensor) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    integers = torch.int32 if expected.element_size() == 4 else torch.int16
    assert torch.equal(actual.detach().cpu().contiguous().view(integers), expected.detach().contiguous().view(integers))


def assert_selects_the_same(scores: Tensor, k: int, magnitude: bool, block: int) -> None:
    expected = select_(torch.empty_like(scores), scores, k, magnitude=magnitude)
    out = torch.full_like(on_device(scores), 7)
    assert kernels.select_(out, on_device(scores), k, magnitude=magnitude, block=block) is out
    assert_same_bits(out, expected)


def some_k(data: st.DataObject, n: int) -> int:
    return data.draw(st.sampled_from([0, 1, n - 1, n]) | st.integers(0, n), label="k")


def random_weight(data: st.DataObject, n: int, dtype: torch.dtype) -> Tensor:
    weight = torch.randn(n, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99), label="weight")))
    weight[::5], weight[1::5], weight[2::5] = 0.0, -0.0, 1e-39
    return weight.to(dtype)


@settings(max_examples=80)
@given(score_lists, dtypes, st.booleans(), blocks, st.data())
def test_selection(values: list[float], dtype: torch.dtype, magnitude: bool, block: int, data: st.DataObject) -> None:
    scores = torch.tensor(values, dtype=dtype)
    assert_selects_the_same(scores, some_k(data, len(values)), magnitude, block)


@pytest.mark.parametrize("magnitude", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 4095, 4096, 4097, 10_007])
def test_selection_in_blocks_of_the_default_size(n: int, dtype: torch.dtype, magnitude: bool) -> None:
    scores = torch.randn(n).to(dtype)
    scores[::3] = 0.25
    for k in {0, 1, n // 3, n // 2, n}:
        assert_selects_the_same(scores, k, magnitude, kernels.BLOCK)


@pytest.mark.parametrize("value", [0.0, -0.0, -3.0, 1e-40])
@pytest.mark.parametrize("magnitude", [True, False])
def test_all_equal_keeps_the_first_across_blocks(value: float, magnitude: bool) -> None:
    scores = torch.full((300,), value)
    for k in (0, 1, 127, 128, 129, 299, 300):
        assert_selects_the_same(scores, k, magnitude, 128)


@settings(max_examples=40)
@given(score_lists, dtypes, st.booleans(), blocks, st.data())
def test_the_kth_largest_key_and_how_many_of_it(
    values: list[float], dtype: torch.dtype, magnitude: bool, block: int, data: st.DataObject
) -> None:
    scores = torch.tensor(values, dtype=dtype)
    k = data.draw(st.integers(1, len(values)), label="k")
    key, room = kernels.kth_largest(on_device(scores), k, magnitude=magnitude, block=block).tolist()
    ranked = (scores.abs() if magnitude else scores).double().sort(descending=True).values
    half = 1 << (8 * scores.element_size() - 1)
    offset = (key & (2 * half - 1)) - (0 if magnitude else half)
    size = torch.tensor(abs(offset), dtype=torch.int32 if half > 1 << 15 else torch.int16).view(dtype).double()
    assert (-size if offset < 0 else size) == ranked[k - 1]
    assert room == k - int((ranked > ranked[k - 1]).sum())


@pytest.mark.parametrize("turned_scores", [True, False])
@pytest.mark.parametrize("turned_out", [True, False])
def test_layout_in_memory_does_not_matter(turned_scores: bool, turned_out: bool) -> None:
    scores = torch.arange(60.0).view(6, 10).remainder(4) - 2
    expected = select_(torch.empty_like(scores), scores, 23, magnitude=True)
    given_scores = on_device(scores.t().contiguous()).t() if turned_scores else on_device(scores)
    wide = torch.full((6, 20), 7.0, device=DEVICE)
    out = wide[:, ::2] if turned_out else torch.empty(6, 10, device=DEVICE)
    kernels.select_(out, given_scores, 23, magnitude=True, block=32)
    assert_same_bits(out, expected)
    assert (wide[:, 1::2] == 7).all(), "wrote beside the slice"


def test_nothing_to_do() -> None:
    empty = torch.empty(0, 3, device=DEVICE)
    assert kernels.select_(empty, empty, 0, magnitude=True) is empty
    assert kernels.effective_weight(empty, empty, 0, magnitude=True).shape == (0, 3)
    assert kernels.grad_scores(empty, empty, empty, magnitude=True).shape == (0, 3)


@settings(max_examples=80)
@given(score_lists, dtypes, dtypes, rules, blocks, st.data())
def test_effective_weight_and_gradient(
    values: list[float], dtype: torch.dtype, weight_dtype: torch.dtype, name: str, block: int, data: st.DataObject
) -> None:
    rule = RULES[name](keep=data.draw(st.floats(0, 1), label="keep"))
    assert isinstance(rule, RankedRule)
    leaf = torch.tensor(values, dtype=dtype).requires_grad_()
    weight = random_weight(data, len(values), weight_dtype)
    grad = torch.randn(len(values), generator=torch.Generator().manual_seed(1)).to(dtype)
    expected = rule.effective_weight(leaf, weight)
    expected.backward(grad)
    scores = on_device(leaf.detach())
    how = {"magnitude": rule.magnitude, "block": block}
    actual = kernels.effective_weight(scores, on_device(weight), kept_count(rule.keep, len(values)), **how)
    assert_same_bits(actual, expected)
    assert leaf.grad is not None
    assert_same_bits(kernels.grad_scores(on_device(grad), scores, on_device(weight), **how), leaf.grad)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3.4e38, -3.4e38])
def test_overflow_and_invalid_gradients_stay_so(value: float) -> None:
    scores, grad = torch.ones(4, dtype=torch.bfloat16), torch.full((4,), value)
    actual = kernels.grad_scores(on_device(grad), on_device(scores), on_device(torch.ones(4)), magnitude=False)
    assert torch.equal(actual.cpu().isnan(), grad.isnan())
    assert value != value or actual.tolist() == grad.bfloat16().tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("ignore:overflow encountered")  # numpy, in the interpreter: that it is infinite is right
def test_rounding_is_to_nearest_and_to_even(dtype: torch.dtype) -> None:
    """All last places of half precision, and what is just below, on and above the middle between two numbers."""
    low = torch.tensor([0x0000, 0x0FFF, 0x1000, 0x1001, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF], dtype=torch.int32)
    high = torch.tensor([0x0000, 0x0001, 0x007F, 0x3380, 0x3F80, 0x3F81, 0x3FFF, 0x477F], dtype=torch.int32)
    grad = ((high[:, None] << 16) | low).view(torch.float32)
    scores, weight = torch.ones(grad.shape, dtype=dtype), torch.full(grad.shape, -1.0)
    actual = kernels.grad_scores(on_device(grad), on_device(scores), on_device(weight), magnitude=True)
    assert_same_bits(actual, -grad.to(dtype))


@settings(max_examples=30)
@given(st.sampled_from(DRAWN), st.tuples(st.integers(1, 20), st.integers(1, 20)), st.integers(0, 2**40), blocks)
def test_drawing(init: str, shape: tuple[int, int], seed: int, block: int) -> None:
    expected = draw(shape, init, seed=seed, name="some.name", scale=0.7)
    drawn = kernels.Drawn.of(shape, init, seed=seed, name="some.name", scale=0.7)
    out = torch.full(shape, 7.0, device=DEVICE)
    assert kernels.draw_(out, drawn, block=block) is out
    assert_same_bits(out, expected)


@pytest.mark.parametrize("init", DRAWN)
def test_a_drawn_weight_has_the_digest_of_the_cpus(init: str) -> None:
    shared = SharedWeight((70, 130), init, seed=3, name="encoder.fc1")
    digest = shared.digest()
    shared.weight = torch.empty(70, 130, device=DEVICE)
    kernels.draw_(shared.weight, kernels.Drawn.of((70, 130), init, seed=3, name="encoder.fc1"))
    assert shared.digest() == digest


@pytest.mark.parametrize("init", ["kaiming_normal", "unsigned_constant"])
def test_families_that_no_kernel_draws(init: str) -> None:
    with pytest.raises(ValueError, match="no kernel draws the family"):
        kernels.Drawn.of((2, 3), init, seed=1, name="n")


@pytest.mark.parametrize("init", DRAWN)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUSED)
def test_weights_drawn_in_the_kernel_are_those_read(name: str, dtype: torch.dtype, init: str) -> None:
    shape = (9, 31)
    scores, grad = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    drawn = kernels.Drawn.of(shape, init, seed=5, name="w")
    how = {"magnitude": name == "edge_popup", "block": 128}
    rule, weight = RULES[name](keep=0.4), draw(shape, init, seed=5, name="w")
    leaf = scores.clone().requires_grad_()
    expected = rule.effective_weight(leaf, weight)
    expected.backward(grad)
    assert_same_bits(kernels.effective_weight(on_device(scores), drawn, kept_count(0.4, 9 * 31), **how), expected)
    assert leaf.grad is not None
    assert_same_bits(kernels.grad_scores(on_device(grad), on_device(scores), drawn, **how), leaf.grad)


@pytest.mark.parametrize("name", FUSED)
def test_rules_use_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the rule itself: expanded and transposed gradients included."""
    scores, weight = torch.randn(5, 7), torch.randn(5, 7)
    plain, fused = scores.clone().requires_grad_(), on_device(scores).requires_grad_()
    RULES[name](keep=0.5).effective_weight(plain, weight).sum().backward()
    monkeypatch.setattr(straight_through, "fused_kernels", lambda *tensors: kernels)
    calls: list[str] = []
    for function in ("effective_weight", "grad_scores"):
        original = getattr(kernels, function)
        monkeypatch.setattr(kernels, function, lambda *a, _f=original, **kw: calls.append(_f.__name__) or _f(*a, **kw))
    value = RULES[name](keep=0.5).effective_weight(fused, on_device(weight))
    assert_same_bits(value, RULES[name](keep=0.5).mask(scores) * weight)
    value.sum().backward()
    assert calls == ["effective_weight", "grad_scores"]
    assert fused.grad is not None
    assert plain.grad is not None
    assert_same_bits(fused.grad, plain.grad)


def test_cpu_tensors_and_doubles_are_left_to_torch() -> None:
    single = torch.ones(3)
    assert fused_kernels(single) is None
    assert fused_kernels(on_device(single).double()) is None
    if DEVICE == "cuda":
        assert fused_kernels(on_device(single), on_device(single).half()) is kernels
        assert fused_kernels(on_device(single), single) is None


@pytest.mark.parametrize("breakage", ["raises", "differs", None])
def test_kernels_that_fail_their_trial_are_not_used(breakage: Optional[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(out: Tensor, *args: object, **kwargs: object) -> Tensor:
        if breakage == "raises":
            raise RuntimeError("no compiler")
        return out.zero_()

    _kernels_of.cache_clear()
    try:
        if breakage is None:
            assert _kernels_of(torch.device(DEVICE)) is kernels
            return
        monkeypatch.setattr(kernels, "select_", broken)
        with pytest.warns(UserWarning, match="no compiler" if breakage == "raises" else "selection differs"):
            assert _kernels_of(torch.device(DEVICE)) is None
    finally:
        _kernels_of.cache_clear()


def test_selection_on_a_device_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.tensor([1.0, -2.0, 2.0, 0.5], device=DEVICE)
    monkeypatch.setattr(selection, "fused_kernels", lambda *tensors: kernels)
    monkeypatch.delattr(selection, "_select_plain")
    assert selection._select_device(torch.empty_like(scores), scores, 1, True).tolist() == [0, 1, 0, 0]


def test_importing_the_package_does_not_import_triton() -> None:
    code = "import sys, one_layer_lt; sys.exit('triton' in sys.modules or 'one_layer_lt.kernels' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
