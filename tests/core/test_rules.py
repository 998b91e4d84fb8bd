from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from one_layer_lt import RULES
from one_layer_lt.rules import MaskRule
from one_layer_lt.rules.edge_popup import EdgePopup
from one_layer_lt.rules.topk import TopK

PLAIN = ["edge_popup", "topk"]
SCORES = torch.tensor([[0.5, -2.0, 1.0], [-0.25, 0.0, 3.0]])
WEIGHT = torch.tensor([[10.0, 20.0, 30.0], [-40.0, 50.0, -60.0]])
GRAD = torch.tensor([[1.0, 2.0, -1.0], [0.5, 3.0, 4.0]])


def gradient(rule: MaskRule, scores: Tensor, weight: Tensor, grad: Tensor) -> Tensor:
    leaf = scores.detach().requires_grad_()
    rule.effective_weight(leaf, weight).backward(grad)
    assert leaf.grad is not None
    return leaf.grad


def restated(rule: MaskRule, scores: Tensor, weight: Tensor, grad: Tensor) -> Tensor:
    product = grad * weight
    negative = torch.signbit(scores)
    return torch.where(negative, -product, product) if isinstance(rule, EdgePopup) else product


def assert_same_bits(actual: Tensor, expected: Tensor) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert torch.equal(actual, expected)
    assert torch.equal(torch.signbit(actual), torch.signbit(expected))


def test_edge_popup_by_hand() -> None:
    rule = EdgePopup(0.5)
    assert rule.mask(SCORES).tolist() == [[0, 1, 1], [0, 0, 1]]
    assert rule.effective_weight(SCORES, WEIGHT).tolist() == [[0, 20, 30], [0, 0, -60]]
    assert gradient(rule, SCORES, WEIGHT, GRAD).tolist() == [[10, -40, -30], [20, 150, -240]]


def test_topk_by_hand() -> None:
    rule = TopK(0.5)
    assert rule.mask(SCORES).tolist() == [[1, 0, 1], [0, 0, 1]]
    assert rule.effective_weight(SCORES, WEIGHT).tolist() == [[10, 0, 30], [0, 0, -60]]
    assert gradient(rule, SCORES, WEIGHT, GRAD).tolist() == [[10, 40, -30], [-20, 150, -240]]


def test_edge_popup_at_zero_takes_the_zeros_own_sign() -> None:
    grad = gradient(EdgePopup(0.5), torch.tensor([[0.0, -0.0]]), torch.tensor([[2.0, 2.0]]), torch.ones(1, 2))
    assert grad.tolist() == [[2, -2]]


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("size", [1, 6, 32_767, 32_768, 32_769, 100_003])
def test_gradient_is_the_plain_formula_bit_for_bit(name: str, dtype: torch.dtype, size: int) -> None:
    """Sizes on both sides of one block and of several."""
    rule = RULES[name](keep=0.3)
    scores, weight, grad = (torch.randn(1, size).to(dtype) for _ in range(3))
    scores[0, ::7], scores[0, ::11] = 0.0, -0.0
    actual = gradient(rule, scores, weight, grad.clone())
    assert_same_bits(actual, restated(rule, scores, weight, grad))


@settings(max_examples=100)
@given(
    st.sampled_from(PLAIN),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_layout_in_memory_does_not_matter(
    name: str, shape: tuple[int, int], turned_scores: bool, turned_weight: bool, turned_grad: bool, seed: int
) -> None:
    rule = RULES[name](keep=0.5)
    generator = torch.Generator().manual_seed(seed)
    plain = [torch.randn(shape, generator=generator) for _ in range(3)]
    turned = [
        tensor.t().contiguous().t() if turn else tensor
        for tensor, turn in zip(plain, (turned_scores, turned_weight, turned_grad))
    ]
    assert_same_bits(gradient(rule, *turned), restated(rule, *plain))
    assert torch.equal(rule.effective_weight(*turned[:2]), rule.effective_weight(*plain[:2]))


@pytest.mark.parametrize("name", PLAIN)
def test_gradient_of_a_transposed_use_and_of_a_sum(name: str) -> None:
    """What autograd passes: a transposed view from a matrix product, an expanded scalar from a sum."""
    rule = RULES[name](keep=0.5)
    scores, weight, x = torch.randn(5, 3), torch.randn(5, 3), torch.randn(2, 3)
    leaf = scores.clone().requires_grad_()
    (x @ rule.effective_weight(leaf, weight).t()).sum().backward()
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, restated(rule, scores, weight, torch.ones(2, 5).t() @ x))
    leaf = scores.clone().requires_grad_()
    rule.effective_weight(leaf, weight).sum().backward()
    assert leaf.grad is not None
    assert_same_bits(leaf.grad, restated(rule, scores, weight, torch.ones(5, 3)))


@pytest.mark.parametrize("name", PLAIN)
def test_scores_weight_and_incoming_gradient_are_left_as_they_were(name: str) -> None:
    scores, weight, grad = SCORES.clone(), WEIGHT.clone().requires_grad_(), GRAD.clone()
    gradient(RULES[name](keep=0.5), scores, weight, grad)
    assert weight.grad is None
    assert torch.equal(scores, SCORES)
    assert torch.equal(weight, WEIGHT)
    assert torch.equal(grad, GRAD)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_exact_k_with_ties(name: str, dtype: torch.dtype) -> None:
    """Half precision rounds most scores to a neighbour's: a threshold alone would keep too many."""
    scores = (torch.rand(100, 100) * 2 - 1).to(dtype)
    for keep in (0.1, 0.3, 0.5, 0.777):
        mask = RULES[name](keep=keep).mask(scores)
        assert mask.dtype == dtype
        assert set(mask.unique().tolist()) == {0.0, 1.0}
        assert mask.double().sum().item() == round(keep * 10_000)


@pytest.mark.parametrize("name", PLAIN)
def test_keeping_all_gives_the_random_weight_itself(name: str) -> None:
    assert torch.equal(RULES[name](keep=1.0).effective_weight(SCORES, WEIGHT), WEIGHT)


@pytest.mark.parametrize("name", PLAIN)
def test_the_mask_has_no_gradient_and_is_not_the_scores(name: str) -> None:
    scores = SCORES.clone().requires_grad_()
    mask = RULES[name](keep=0.5).mask(scores)
    assert not mask.requires_grad
    assert mask.data_ptr() != scores.data_ptr()


@pytest.mark.parametrize("name", PLAIN)
def test_effective_weight_takes_the_dtype_of_the_scores(name: str) -> None:
    assert RULES[name](keep=0.5).effective_weight(SCORES.bfloat16(), WEIGHT).dtype == torch.bfloat16
