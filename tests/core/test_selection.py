from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from one_layer_lt import selection
from one_layer_lt.selection import _select_device, as_one, block_sums, kept_count, same_bits, select_

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]

few_values = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.0 + 2**-10, 6e-8, -6e-8])
many_values = st.floats(-6e4, 6e4, width=32)
score_lists = st.lists(few_values, min_size=1, max_size=80) | st.lists(many_values, min_size=1, max_size=80)


def reference(scores: Tensor, k: int, magnitude: bool) -> list[float]:
    """By a plain stable sort: largest first, ties in order of their index."""
    values = [abs(v) if magnitude else v for v in scores.double().flatten().tolist()]
    kept = set(sorted(range(len(values)), key=lambda i: -values[i])[:k])
    return [float(i in kept) for i in range(len(values))]


def selected(scores: Tensor, k: int, magnitude: bool) -> list[float]:
    return select_(torch.full_like(scores, 7), scores, k, magnitude=magnitude).flatten().tolist()


@settings(max_examples=300)
@given(score_lists, st.sampled_from(DTYPES), st.booleans(), st.data())
def test_exactly_the_k_first_of_a_stable_sort_are_kept(
    values: list[float], dtype: torch.dtype, magnitude: bool, data: st.DataObject
) -> None:
    scores = torch.tensor(values, dtype=dtype)
    k = data.draw(st.integers(0, len(values)), label="k")
    before = scores.clone()
    expected = reference(scores, k, magnitude)
    assert selected(scores, k, magnitude) == expected
    assert sum(expected) == k
    assert torch.equal(scores, before)


@settings(max_examples=200)
@given(score_lists, st.booleans(), st.data())
def test_sampling_finds_the_same(values: list[float], magnitude: bool, data: st.DataObject) -> None:
    scores = torch.tensor(values * 9)
    k = data.draw(st.integers(0, len(scores)), label="k")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_SMALL", 0)
        patch.setattr(selection, "_SAMPLE", (data.draw(st.integers(1, 12), label="sample"), 12))
        patch.setattr(selection, "_BLOCK", data.draw(st.integers(1, 50), label="block"))
        assert selected(scores, k, magnitude) == reference(scores, k, magnitude)


LARGE = 4 * selection._SMALL + 4321


@pytest.mark.parametrize("magnitude", [True, False])
@pytest.mark.parametrize("k", [1, 1000, LARGE // 2, LARGE - 1])
@pytest.mark.parametrize(
    "scores",
    [
        torch.randn(LARGE, generator=torch.Generator().manual_seed(0)),
        torch.linspace(-1, 3, LARGE),
        torch.full((LARGE,), -0.5),
        torch.arange(LARGE).remainder(3).float() - 1,
        torch.arange(LARGE).remainder(9).eq(0) * torch.linspace(5, 6, LARGE) + torch.linspace(0, 1, LARGE),
    ],
    ids=["random", "sorted", "constant", "three values", "what the sample's step meets"],
)
def test_large_tensors(scores: Tensor, k: int, magnitude: bool) -> None:
    keys = scores.abs() if magnitude else scores
    expected = torch.zeros_like(scores).index_fill_(0, torch.sort(keys, descending=True, stable=True).indices[:k], 1)
    assert torch.equal(select_(torch.empty_like(scores), scores, k, magnitude=magnitude), expected)


@settings(max_examples=200)
@given(score_lists, st.sampled_from(DTYPES), st.booleans(), st.data())
def test_the_device_path_selects_the_same(
    values: list[float], dtype: torch.dtype, magnitude: bool, data: st.DataObject
) -> None:
    scores = torch.tensor(values, dtype=dtype)
    k = data.draw(st.integers(1, len(values)), label="k")
    out = _select_device(torch.full_like(scores, 7), scores, k, magnitude)
    assert out.tolist() == reference(scores, k, magnitude)


@settings(max_examples=150)
@given(st.lists(few_values, min_size=24, max_size=24), st.booleans(), st.integers(0, 24), st.booleans(), st.booleans())
def test_layout_in_memory_does_not_matter(
    values: list[float], magnitude: bool, k: int, turned_scores: bool, turned_out: bool
) -> None:
    """Ties are broken in the order of the logical index, whatever the strides of scores and of out."""
    scores = torch.tensor(values).view(4, 6)
    expected = torch.tensor(reference(scores, k, magnitude)).view(4, 6)
    if turned_scores:
        scores = scores.t().contiguous().t()
    out = torch.full((6, 4), 7.0).t() if turned_out else torch.full((4, 6), 7.0)
    assert torch.equal(select_(out, scores, k, magnitude=magnitude), expected)
    if k:
        device_out = torch.full((6, 4), 7.0).t() if turned_out else torch.full((4, 6), 7.0)
        assert torch.equal(_select_device(device_out, scores, k, magnitude), expected)


@pytest.mark.parametrize("magnitude", [True, False])
def test_strided_slices(magnitude: bool) -> None:
    wide, wide_out = torch.arange(24.0).view(4, 6) % 5 - 2, torch.full((4, 6), 7.0)
    scores, out = wide[:, ::2], wide_out[:, ::2]
    select_(out, scores, 5, magnitude=magnitude)
    assert out.flatten().tolist() == reference(scores, 5, magnitude)
    assert (wide_out[:, 1::2] == 7).all(), "wrote beside the slice"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("magnitude", [True, False])
@pytest.mark.parametrize("value", [0.0, -0.0, 0.25, -3.0])
def test_all_equal_keeps_the_first(dtype: torch.dtype, magnitude: bool, value: float) -> None:
    scores = torch.full((10,), value, dtype=dtype)
    for k in range(11):
        assert selected(scores, k, magnitude) == [1.0] * k + [0.0] * (10 - k)


def test_zeros_of_both_signs_tie() -> None:
    scores = torch.tensor([-0.0, 0.0, -0.0, 0.0, -1.0])
    assert selected(scores, 2, magnitude=False) == [1, 1, 0, 0, 0]
    assert selected(scores, 4, magnitude=False) == [1, 1, 1, 1, 0]
    assert selected(scores, 2, magnitude=True) == [1, 0, 0, 0, 1]


def test_magnitude_and_value_rank_differently() -> None:
    scores = torch.tensor([-3.0, 1.0, 2.0, -0.5])
    assert selected(scores, 2, magnitude=True) == [1, 0, 1, 0]
    assert selected(scores, 2, magnitude=False) == [0, 1, 1, 0]


def test_double_precision_tells_apart_what_single_precision_cannot() -> None:
    scores = 1 + torch.arange(6, dtype=torch.float64) * 1e-12
    assert selected(scores, 2, magnitude=True) == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("magnitude", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_many_scores_many_ties(dtype: torch.dtype, magnitude: bool) -> None:
    """Large enough for the vectorised paths; in bfloat16 nearly every threshold is tied."""
    scores = torch.randn(300, 301).to(dtype)
    for k in (1, 9_030, 45_150, 90_299):
        assert selected(scores, k, magnitude) == reference(scores, k, magnitude)


def test_the_reused_buffer_carries_nothing_over() -> None:
    large, small = torch.randn(5_000), torch.tensor([1.0, 3.0, -2.0])
    first = selected(large, 2_500, magnitude=True)
    assert selected(small, 1, magnitude=True) == [0, 1, 0]
    assert selected(large, 2_500, magnitude=True) == first


def test_threads_do_not_disturb_each_other() -> None:
    tensors = [torch.randn(20_000 + 1_000 * i) for i in range(8)]
    expected = [selected(scores, 10_000, magnitude=True) for scores in tensors]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda scores: selected(scores, 10_000, True), tensors * 3)) == expected * 3


def test_scores_that_require_grad_give_a_mask_without() -> None:
    scores = torch.tensor([1.0, -2.0, 2.0], requires_grad=True)
    for k in range(4):
        assert not select_(torch.empty(3), scores, k, magnitude=True).requires_grad


@pytest.mark.parametrize("k", [-1, 4])
def test_impossible_k(k: int) -> None:
    with pytest.raises(ValueError, match=f"k must be from 0 to 3, the number of scores, not {k}"):
        select_(torch.empty(3), torch.ones(3), k, magnitude=True)


def test_nothing_to_select_from() -> None:
    assert selected(torch.empty(0), 0, magnitude=True) == []


@pytest.mark.parametrize(
    ("keep", "n", "kept"),
    [(0.5, 10, 5), (0.3, 10, 3), (1.0, 7, 7), (0.5, 5, 2), (0.5, 7, 4), (0.1, 4, 0), (0.29, 100, 29), (1e-9, 1000, 0)],
)
def test_kept_count(keep: float, n: int, kept: int) -> None:
    assert kept_count(keep, n) == kept


@given(st.floats(0, 1, exclude_min=True), st.integers(0, 10**9))
def test_kept_count_is_within_half_a_weight(keep: float, n: int) -> None:
    k = kept_count(keep, n)
    assert 0 <= k <= n
    assert abs(k - keep * n) <= 0.5


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.bfloat16, torch.float32, torch.float64])
def test_same_bits(dtype: torch.dtype) -> None:
    one = torch.tensor([1, 0, 3]).to(dtype)
    assert same_bits(one, one.clone())
    assert not same_bits(one, torch.tensor([1, 0, 2]).to(dtype))
    assert not same_bits(one, one.view(3, 1))
    if dtype.is_floating_point:
        zeros = torch.zeros(2, dtype=dtype)
        assert not same_bits(zeros, -zeros)
        assert same_bits(zeros / 0, zeros / 0)


def test_block_sums_by_hand() -> None:
    """512 bytes are 64 words of 8 bytes, whose sum is 8 bytes; what does not fill a block stays as it is."""
    words = torch.arange(130).view(10, 13)
    assert block_sums(words).view(torch.int64).tolist() == [sum(range(64)), sum(range(64, 128)), 128, 129]
    assert block_sums(words.t()).view(torch.int64).tolist()[2:] == [116, 129]  # in the order of the elements
    assert block_sums(torch.tensor([1, 2, 3], dtype=torch.uint8)).tolist() == [1, 2, 3]


@settings(max_examples=60)
@given(st.integers(1, 700), st.sampled_from([torch.float32, torch.bfloat16, torch.float64]), st.data())
def test_a_write_anywhere_changes_the_sums(n: int, dtype: torch.dtype, data: st.DataObject) -> None:
    tensor = torch.randn(n, generator=torch.Generator().manual_seed(n)).to(dtype)
    before = block_sums(tensor)
    assert before.numel() <= tensor.nbytes // 64 + 511
    tensor[data.draw(st.integers(0, n - 1))] += 1
    assert not torch.equal(block_sums(tensor), before)


def test_as_one_ranks_all_in_one_row() -> None:
    tensors = [torch.tensor([[1.0, 4.0], [2.0, 0.0]]).t(), torch.tensor(5.0), torch.empty(0, 3), torch.tensor([3.0])]
    found = as_one(tensors, lambda row: row * 10 + torch.arange(6))
    assert [part.tolist() for part in found] == [[[10, 21], [42, 3]], 54, [], [35]]
