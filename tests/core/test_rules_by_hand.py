"""Every mask rule worked out on 2 x 3 scores, and what its masks promise of any tensor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from one_layer_lt import RULES, MaskConfig, mask_, scores_of
from tests.support.configs import CONFIGS, rule_of

SCORES = torch.tensor([[0.5, -2.0, 1.0], [-0.25, 0.0, 3.0]])
WEIGHT = torch.tensor([[10.0, 20.0, 30.0], [-40.0, 50.0, -60.0]])
GRAD = torch.tensor([[1.0, 2.0, -1.0], [0.5, 3.0, 4.0]])
STRAIGHT = [[10, 40, -30], [-20, 150, -240]]  # GRAD * WEIGHT
BY_SIGN = [[10, -40, -30], [20, 150, -240]]  # the same times the scores' signs
SLOPES = [[0.23500371, 0.10499359, 0.19661193], [0.24613409, 0.25, 0.04517666]]  # of the sigmoid, at SCORES
BY_SLOPE = (torch.tensor(STRAIGHT) * torch.tensor(SLOPES)).tolist()

# At half the temperature: sigmoid'(2 s) * 2.
STEEPER = [[0.39322387, 0.03532541, 0.20998717], [0.47000742, 0.5, 0.00493302]]
ALPHA = 110 / 3
GEM_SCORES = torch.tensor([[0.5, 0.2, 1.0], [0.75, -1.0, 0.49]])

# rule, options, scores, mask, effective weight, gradient
HAND: dict[str, tuple[str, dict[str, Any], Tensor, Any, Any, Any]] = {
    "edge_popup": ("edge_popup", {}, SCORES, [[0, 1, 1], [0, 0, 1]], [[0, 20, 30], [0, 0, -60]], BY_SIGN),
    "topk": ("topk", {}, SCORES, [[1, 0, 1], [0, 0, 1]], [[10, 0, 30], [0, 0, -60]], STRAIGHT),
    "iterand": ("iterand", {}, SCORES, [[0, 1, 1], [0, 0, 1]], [[0, 20, 30], [0, 0, -60]], BY_SIGN),
    "sign": ("sign", {}, SCORES, [[1, -1, 1], [-1, 1, 1]], [[10, -20, 30], [40, 50, -60]], STRAIGHT),
    "a zero's own sign": ("sign", {}, -0.0 * SCORES.abs(), [[-1] * 3] * 2, (-WEIGHT).tolist(), STRAIGHT),
    "signed": ("signed", {}, SCORES, [[0, -1, 1], [0, 0, 1]], [[0, -20, 30], [0, 0, -60]], STRAIGHT),
    "signed by threshold": (
        "signed",
        {"threshold": 0.4},
        SCORES,
        [[1, -1, 1], [0, 0, 1]],
        [[10, -20, 30], [0, 0, -60]],
        STRAIGHT,
    ),
    "bernoulli": ("bernoulli", {}, SCORES, [[1, 0, 1], [0, 1, 1]], [[10, 0, 30], [0, 50, -60]], BY_SLOPE),
    "threshold": (
        "threshold",
        {"threshold": 0.25},
        SCORES,
        [[1, 0, 1], [0, 0, 1]],
        [[10, 0, 30], [0, 0, -60]],
        STRAIGHT,
    ),
    "sigmoid_threshold": (
        "sigmoid_threshold",
        {"threshold": 1 / (1 + math.exp(-0.75))},
        SCORES,
        [[0, 0, 1], [0, 0, 1]],
        [[0, 0, 30], [0, 0, -60]],
        BY_SLOPE,
    ),
    "biprop": ("biprop", {}, SCORES, [[0, 1, 1], [0, 0, 1]], [[0, ALPHA, ALPHA], [0, 0, -ALPHA]], BY_SIGN),
    "multicoat": (
        "multicoat",
        {"coats": (1 / 2, 1 / 3, 1 / 6)},
        SCORES,
        [[0, 2, 1], [0, 0, 3]],
        [[0, 40, 30], [0, 0, -180]],
        BY_SIGN,
    ),
    "annealed": ("annealed", {}, SCORES, [[1, 0, 1], [0, 1, 1]], [[10, 0, 30], [0, 50, -60]], BY_SLOPE),
    "annealed at its end": (
        "annealed",
        {"last": 0.5, "over": 0},
        SCORES,
        [[1, 0, 1], [0, 1, 1]],
        [[10, 0, 30], [0, 50, -60]],
        (torch.tensor(STRAIGHT) * torch.tensor(STEEPER)).tolist(),
    ),
    "continuous": ("continuous", {}, SCORES, [[1, 0, 1], [0, 1, 1]], [[10, 0, 30], [0, 50, -60]], BY_SLOPE),
    "gem_miner": (
        "gem_miner",
        {},
        GEM_SCORES,
        [[1, 0, 1], [1, 0, 0]],
        [[10, 0, 30], [-40, 0, 0]],
        [[10, 40, -30], [-20, 0, -240]],
    ),
}


@pytest.mark.parametrize("case", HAND)
def test_by_hand(case: str) -> None:
    name, options, scores, mask, effective, gradient = HAND[case]
    rule, leaf = rule_of(name, options), scores.clone().requires_grad_()
    assert rule.mask(scores).tolist() == mask
    value = rule.effective_weight(leaf, WEIGHT)
    torch.testing.assert_close(value.detach(), torch.tensor(effective, dtype=torch.float32))
    value.backward(GRAD)
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, torch.tensor(gradient, dtype=torch.float32), rtol=1e-5, atol=1e-5)


def test_every_rule_is_worked_out() -> None:
    assert {name for name, *_ in HAND.values()} == set(RULES) == {config.rule for config in CONFIGS.values()}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masks_are_new_tensors_like_the_scores(name: str, dtype: torch.dtype) -> None:
    scores = torch.rand(13, 7).to(dtype).requires_grad_()
    before, rule = scores.detach().clone(), rule_of(name, {})
    for mask in (rule.mask(scores.detach()), rule.training_mask(scores.detach())):
        assert (mask.shape, mask.dtype, mask.requires_grad) == (scores.shape, dtype, False)
        assert mask.data_ptr() != scores.data_ptr()
        mask.fill_(7)
    assert torch.equal(scores.detach(), before)
    assert rule.effective_weight(scores, torch.randn(13, 7)).dtype == dtype


@settings(max_examples=60)
@given(st.sampled_from(sorted(RULES)), st.integers(1, 400), st.integers(0, 2**31), st.booleans())
def test_planes_say_all_of_a_mask(name: str, n: int, seed: int, coarse: bool) -> None:
    """Each plane after the first has a bit for each 1 of the one before."""
    scores = torch.randn(n, generator=torch.Generator().manual_seed(seed))
    rule, mask = rule_of(name, {}), None
    mask = rule.mask(scores.round() if coarse else scores)
    planes = rule.to_planes(mask.numpy())
    assert len(planes) == rule.planes
    length = n
    for plane in planes:
        assert plane.size == length
        length = int(plane.sum())
    assert rule.from_planes([plane.astype(np.uint8) for plane in planes]).tolist() == mask.tolist()


@settings(max_examples=60)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=5, unique=True), st.integers(1, 300), st.integers(0, 2**31))
def test_coats_are_nested_and_exact(coats: list[float], n: int, seed: int) -> None:
    scores = torch.randn(n, generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    coats.sort(reverse=True)
    mask = rule_of("multicoat", {"coats": coats}).mask(scores)
    for level, coat in enumerate(coats, start=1):
        assert int((mask >= level).sum()) == round(coat * n)


@settings(max_examples=40)
@given(st.sampled_from(["edge_popup", "topk", "signed", "biprop", "iterand"]), st.floats(0.001, 1), st.integers(1, 500))
def test_exactly_k(name: str, keep: float, n: int) -> None:
    scores = torch.randn(n, generator=torch.Generator().manual_seed(n)).round(decimals=1)
    rule = MaskConfig(rule=name, keep=keep).new_rule()
    assert int((rule.mask(scores) != 0).sum()) == rule.kept(n) == round(keep * n)


@pytest.mark.parametrize("name", ["threshold", "sigmoid_threshold"])
def test_a_threshold_that_all_fall_short_of(name: str) -> None:
    scores = torch.arange(1000.0) / 1000 - 3
    mask = rule_of(name, {"threshold": 0.99}).mask(scores)
    assert mask.nonzero().flatten().tolist() == [995, 996, 997, 998, 999]
    signed = rule_of("signed", {"threshold": 9.0}).mask(-torch.arange(1000.0) / 1000)
    assert signed.nonzero().flatten().tolist() == [995, 996, 997, 998, 999]
    assert signed[-1] == -1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gem_miner", {"period": 1, "over": 1, "l2": 0.0}),
        ("iterand", {"period": 1, "fraction": 1.0}),
        ("annealed", {"first": 0.5, "last": 0.5, "over": 0}),
        ("multicoat", {"coats": (1.0,)}),
        ("multicoat", {"coats": tuple(1 / level for level in range(1, 17))}),
        ("signed", {"threshold": 0.0}),
        ("edge_popup", {"ramp": 0}),
    ],
    ids=str,
)
def test_options_at_their_limits(name: str, options: dict[str, Any]) -> None:
    rule = rule_of(name, options)
    assert {option: getattr(rule, option) for option in options} == options
    assert bool(rule.mask(SCORES).any())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"threshold": -0.1}, "threshold must be at least 0, not -0.1"),
        ({"threshold": math.inf}, "threshold must be at least 0, not inf"),
        ({"threshold": 0.1, "scope": "global"}, "threshold must be without scope and ramp, not 0.1"),
        ({"threshold": 0.1, "ramp": 5}, "threshold must be without scope and ramp, not 0.1"),
    ],
)
def test_thresholds_that_signed_cannot_have(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        rule_of("signed", options)


def test_what_fused_kernels_know() -> None:
    """The keep ratio, and whether magnitudes are ranked: of rules that do nothing but select, tensor by tensor."""
    told = {name: rule_of(name, {}).fused(training=False) for name in RULES}
    assert {name: fused for name, fused in told.items() if fused} == {"edge_popup": (0.5, True), "topk": (0.5, False)}
    assert rule_of("topk", {"scope": "global"}).fused(training=False) is None
    assert MaskConfig(rule="topk", keep=0.3).new_rule().fused(training=True) == (0.3, False)  # not 0.30000000000000004
    ramp = rule_of("edge_popup", {"ramp": 10})
    ramp.context.update = 5
    assert (ramp.fused(training=True), ramp.fused(training=False)) == ((0.75, True), (0.5, True))


def test_one_weight_is_of_its_own_magnitude() -> None:
    rule = MaskConfig(rule="biprop", keep=1 / 6).new_rule()
    assert rule.effective_weight(SCORES, WEIGHT).tolist() == [[0, 0, 0], [0, 0, -60]]


@pytest.mark.parametrize(
    ("name", "start"),
    [("edge_popup", [-0.2, 0.1]), ("bernoulli", [-5, 2.5]), ("continuous", [-0.5, 0.25]), ("gem_miner", [0, 0.75])],
)
def test_scores_start_within_bounds_of_the_rule(name: str, start: list[float]) -> None:
    assert rule_of(name, {}).start(torch.tensor([-0.2, 0.1]), 0.2).tolist() == pytest.approx(start)


def test_how_many_a_mask_keeps_is_promised() -> None:
    """But by rules whose threshold or chance decides, and where several tensors are ranked as one."""
    promised = {name: rule_of(name, {}).kept(10) for name in RULES}
    ranked = dict.fromkeys(["edge_popup", "topk", "biprop", "signed", "iterand"], 5)
    assert {name: kept for name, kept in promised.items() if kept is not None} == {**ranked, "sign": 10, "multicoat": 3}
    assert rule_of("topk", {"scope": "global"}).kept(10) is None
    assert rule_of("signed", {"threshold": 0.1}).kept(10) is None


def test_what_only_some_rules_have() -> None:
    scheduled = ["annealed", "continuous", "gem_miner", "iterand"]
    assert [name for name in sorted(RULES) if rule_of(name, {}).is_scheduled] == scheduled
    assert [rule_of("annealed", {"over": over}).is_scheduled for over in (0, 1)] == [False, True]
    assert [rule_of("topk", {"ramp": ramp}).is_scheduled for ramp in (0, 1)] == [False, True]
    scales = {name: rule.weight_scale for name, rule in RULES.items() if rule.weight_scale != 1}
    assert scales == {"sign": math.sqrt(0.5)}
    with pytest.raises(NotImplementedError):
        rule_of("sign", {}).selected_together([SCORES], training=False)


def test_the_gradient_knows_the_factor_of_the_layout() -> None:
    """Three of six are kept, so that what is left, and its gradient, is twice as large."""
    layer = nn.Linear(3, 2, bias=False)
    layer.weight.data.copy_(WEIGHT)
    mask_(layer, MaskConfig(rule="topk", init="existing", rescale="tensor"))
    scores_of(layer).data.copy_(SCORES)
    (layer.weight * GRAD).sum().backward()
    assert layer.weight.tolist() == [[20, 0, 60], [0, 0, -120]]
    assert (scores_of(layer).grad / 2).tolist() == STRAIGHT
