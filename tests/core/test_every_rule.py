"""Every mask rule: by hand on 2 x 3 scores, what it promises of any tensor, its ticket, and its schedule resumed."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from one_layer_lt import (
    RULES,
    MaskConfig,
    advance_,
    fold_,
    load_ticket,
    mask_,
    masked_modules,
    masked_weight,
    save_ticket,
    scores_of,
)
from one_layer_lt.rules import MaskRule
from one_layer_lt.rules.gem_miner import GemMiner
from one_layer_lt.rules.schedules import SCHEDULES, scheduled
from one_layer_lt.ticket.encoding import _redraws, _to_bytes
from one_layer_lt.ticket.parts import WeightSpec
from one_layer_lt.ticket.sizes import sizes
from one_layer_lt.weights import draw_words
from tests.support.models import Stacks

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

# Configurations that between them use every rule, option and layout.
CONFIGS: dict[str, MaskConfig] = {
    **{rule: MaskConfig(seed=3, rule=rule) for rule in RULES},
    "global": MaskConfig(keep=0.3, options={"scope": "global", "ramp": 6}),
    "global biprop": MaskConfig(rule="biprop", keep=0.2, options={"scope": "global"}),
    "signed by threshold": MaskConfig(rule="signed", options={"threshold": 0.2}),
    "bernoulli by sample": MaskConfig(rule="bernoulli", options={"evaluate": "sample"}, rescale="tensor"),
    "quick gem_miner": MaskConfig(rule="gem_miner", keep=0.2, options={"period": 2, "over": 6, "l2": 0.01}),
    "quick iterand": MaskConfig(rule="iterand", keep=0.1, options={"period": 2, "fraction": 0.5}),
    "iterand under all": MaskConfig(
        rule="iterand", keep=0.2, options={"period": 3, "fraction": 1.0}, share="stack", init="kaiming_normal"
    ),
    "quick annealed": MaskConfig(rule="annealed", options={"over": 7, "schedule": "cosine"}),
    "frozen": MaskConfig(drop=0.25, lock=0.125, keep=0.4),
    "frozen sign": MaskConfig(rule="sign", drop=0.25, lock=0.125, tiles=(2, 1), init="signed_constant"),
    "frozen multicoat": MaskConfig(rule="multicoat", drop=0.5),
    "row": MaskConfig(rescale="row", share="none"),
    "column": MaskConfig(rescale="column", rule="signed"),
    "tiles": MaskConfig(tiles=(2, 2), keep=0.25),
    "tiles and all": MaskConfig(tiles=(4, 1), lock=0.1, rescale="tensor", rule="biprop", share="layer_mask"),
    "stack": MaskConfig(share="stack"),
    "vector": MaskConfig(share="vector", init="xavier_normal"),
    "layer_mask": MaskConfig(share="layer_mask"),
}


def rule_of(name: str, options: dict[str, Any]) -> MaskRule:
    return MaskConfig(rule=name, options=options).new_rule()


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


class TestBernoulli:
    def test_training_draws_by_chance_and_anew(self) -> None:
        rule, scores = rule_of("bernoulli", {}), torch.full((100_000,), 1.0)
        first, second = rule.training_mask(scores), rule.training_mask(scores)
        for mask in (first, second):
            assert abs(float(mask.mean()) - 0.7310586) < 0.01
        assert 0.3 < float((first != second).float().mean()) < 0.5  # 2 p (1 - p) = 0.393

    def test_a_fixed_sample(self) -> None:
        scores = torch.full((100_000,), -1.0)
        samples = []
        for seed, name in ((1, "a"), (1, "a"), (2, "a"), (1, "b")):
            rule = rule_of("bernoulli", {"evaluate": "sample", "sample_seed": seed})
            rule.at.name = name
            samples.append(rule.mask(scores))
        assert torch.equal(samples[0], samples[1])
        assert not torch.equal(samples[0], samples[2])
        assert not torch.equal(samples[0], samples[3])
        assert abs(float(samples[0].mean()) - 0.2689414) < 0.01

    def test_folding_takes_the_evaluations_mask(self) -> None:
        model = mask_(nn.Sequential(nn.Linear(30, 30)), MaskConfig(rule="bernoulli"))
        expected = copy.deepcopy(model).eval()[0].weight
        assert torch.equal(fold_(model.train())[0].weight, expected)


class TestContinuous:
    OPTIONS: ClassVar = {"first": 2.0, "last": 0.5, "over": 10, "schedule": "linear"}

    def model(self) -> nn.Module:
        return mask_(nn.Sequential(nn.Linear(7, 5)), MaskConfig(rule="continuous", options=self.OPTIONS)).train()

    @pytest.mark.parametrize(("update", "temperature"), [(0, 2.0), (5, 1.25), (9, 0.65)])
    def test_first_the_sigmoid_and_its_own_gradient(self, update: int, temperature: float) -> None:
        model = self.model()
        advance_(model, update)
        scores, grad = scores_of(model[0]), torch.randn(5, 7)
        expected = torch.sigmoid(scores / temperature) * masked_weight(model[0]).shared.weight
        torch.testing.assert_close(model[0].weight, expected)
        found = torch.autograd.grad(model[0].weight, scores, grad)[0]
        torch.testing.assert_close(found, torch.autograd.grad(expected, scores, grad)[0])
        hard = copy.deepcopy(model).eval()[0].weight
        assert set((hard / masked_weight(model[0]).shared.weight).flatten().tolist()) == {0.0, 1.0}
        assert not torch.equal(model[0].weight, hard)

    @pytest.mark.parametrize("update", [10, 99])
    def test_then_what_evaluation_sees(self, update: int) -> None:
        model = self.model()
        advance_(model, update)
        assert torch.equal(model[0].weight, copy.deepcopy(model).eval()[0].weight)
        scores, grad = scores_of(model[0]), torch.randn(5, 7)
        slope = torch.sigmoid(2 * scores) * torch.sigmoid(-2 * scores) * 2
        found = torch.autograd.grad(model[0].weight, scores, grad)[0]
        torch.testing.assert_close(found, grad * masked_weight(model[0]).shared.weight * slope)


class TestGlobal:
    def model(self, keep: float = 0.3, ramp: int = 0) -> nn.Module:
        config = MaskConfig(keep=keep, options={"scope": "global", "ramp": ramp}, share="none")
        return mask_(nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5)), config)

    def kept(self, model: nn.Module) -> list[int]:
        return [int((module.weight != 0).sum()) for _, module in masked_modules(model)]

    def test_one_threshold(self) -> None:
        model = self.model().eval()
        with torch.no_grad():
            scores_of(model[0]).uniform_(0, 1)
            scores_of(model[2]).uniform_(2, 3)
        assert self.kept(model) == [0, 90]  # 0.3 of 300 weights: all from the second
        with torch.no_grad():
            scores_of(model[2]).mul_(0.01)
        assert self.kept(model) == [90, 0]

    def test_evaluation_sees_the_others_change(self) -> None:
        model = self.model().eval()
        with torch.no_grad():
            scores_of(model[0]).fill_(1)
            scores_of(model[2]).fill_(2)
            assert self.kept(model) == [0, 90]
            scores_of(model[2]).fill_(0.5)
            assert int((model[0].weight != 0).sum()) == 90

    @pytest.mark.parametrize("through_data", [True, False])
    def test_each_step_sees_the_scores_of_now(self, through_data: bool) -> None:
        model = self.model().train()
        for step in range(3):
            for index in (0, 2):
                scores = scores_of(model[index])
                new = torch.rand_like(scores) + (1 if (index == 0) == (step % 2 == 0) else 0)
                if through_data:
                    scores.data.copy_(new)
                else:
                    with torch.no_grad():
                        scores.copy_(new)
            model(torch.randn(4, 10)).sum().backward()
            kept = self.kept(model)
            assert sum(kept) == 90
            assert kept[0 if step % 2 == 0 else 1] == 90

    def test_ramp(self) -> None:
        model = self.model(keep=0.2, ramp=10).train()
        for update, expected in ((0, 300), (5, 180), (10, 60), (20, 60)):
            advance_(model, update)
            assert sum(self.kept(model)) == expected
        advance_(model, 0)
        model.eval()
        assert sum(self.kept(model)) == 60  # evaluation has arrived already

    def test_half_precision_moves_and_copies(self) -> None:
        model = copy.deepcopy(self.model()).to(torch.bfloat16).eval()
        assert sum(self.kept(model)) == 90
        assert masked_weight(model[0]).together is masked_weight(model[2]).together


class TestGemMiner:
    def test_start_and_rounding(self) -> None:
        model = mask_(nn.Sequential(nn.Linear(50, 40)), MaskConfig(rule="gem_miner"))
        scores = scores_of(model[0])
        assert 0 <= float(scores.min()) < 0.05 < 0.95 < float(scores.max()) <= 1
        assert torch.equal(masked_weight(model[0]).mask(scores), (scores >= 0.5).float())

    def test_frozen_off_together_for_good(self) -> None:
        options = {"period": 2, "over": 6, "l2": 0.0}
        config = MaskConfig(rule="gem_miner", keep=0.125, options=options, share="none")
        model = mask_(nn.Sequential(nn.Linear(16, 20), nn.Linear(20, 4)), config)
        with torch.no_grad():
            scores_of(model[1]).mul_(0.25)  # the lowest of all
        optimizer = torch.optim.Adam([scores_of(module) for module in model], lr=0.05)
        frozen = torch.zeros(400, dtype=torch.bool)
        for update in range(12):
            advance_(model, update)
            advance_(model, update)  # a second call changes nothing
            flat = torch.cat([scores_of(module).detach().flatten() for module in model])
            assert bool((frozen <= (flat == -1)).all())
            frozen = flat == -1
            assert bool(((flat >= 0) | frozen).all() and (flat <= 1).all())
            assert int((~frozen).sum()) == round(400 * 0.125 ** (min(update // 2, 3) / 3))
            model(torch.randn(8, 16)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        assert int(frozen[320:].sum()) > int(frozen[:320].sum()) * 80 / 320

    def test_l2_shrinks(self) -> None:
        rule = GemMiner(l2=0.5)
        scores = nn.Parameter(torch.tensor([0.8, -1.0, 0.3]))
        rule.advance([(None, scores)], 0)  # type: ignore[list-item]
        assert scores.tolist() == pytest.approx([0.8, -1, 0.3])
        rule.advance([(None, scores)], 1)  # type: ignore[list-item]
        assert scores.tolist() == pytest.approx([0.4, -1, 0.15])


class TestIteRand:
    def model(self, fraction: float = 0.5, keep: float = 0.2) -> nn.Module:
        options = {"period": 3, "fraction": fraction}
        return mask_(Stacks(), MaskConfig(rule="iterand", keep=keep, options=options))

    def test_only_what_no_layer_uses_is_drawn_again(self) -> None:
        model = self.model()
        layers = [layer.fc1 for layer in model.encoder["layers"]]
        shared = masked_weight(layers[0]).shared
        used = sum(masked_weight(layer).mask(scores_of(layer).detach()) for layer in layers) != 0
        before = shared.weight.clone()
        for update in (0, 1, 2):
            advance_(model, update)
            assert torch.equal(shared.weight, before)
        advance_(model, 3)
        changed = shared.weight != before
        assert not bool((changed & used).any())
        assert 0 < int(changed.sum()) < int((~used).sum())
        again = shared.weight.clone()
        advance_(model, 3)
        assert torch.equal(shared.weight, again)

    def test_all_of_it(self) -> None:
        model = self.model(fraction=1.0, keep=0.1)
        shared = masked_weight(model.decoder["layers"][0].fc1).shared
        users = [layer.fc1 for layer in model.decoder["layers"]]
        used = sum(masked_weight(layer).mask(scores_of(layer).detach()) for layer in users) != 0
        before = shared.weight.clone()
        advance_(model, 3)
        assert torch.equal(shared.weight == before, used)
        assert abs(float(shared.weight.std() / before.std()) - 1) < 0.6

    def test_a_state_dict_replays_it(self) -> None:
        model = self.model()
        for update in range(10):
            advance_(model, update)
            with torch.no_grad():
                for _, module in masked_modules(model):
                    scores_of(module).add_(0.1 * torch.randn_like(scores_of(module)))
        other = self.model()
        other.load_state_dict(model.state_dict())
        for (_, mine), (_, theirs) in zip(masked_modules(model), masked_modules(other)):
            assert masked_weight(mine).shared.digest() == masked_weight(theirs).shared.digest()
        assert masked_weight(other.encoder["layers"][0].fc1).shared.draws == 3


class TestLayouts:
    @settings(max_examples=30)
    @given(
        st.integers(1, 9), st.integers(1, 9), st.floats(0, 0.6), st.floats(0, 0.39), st.floats(0, 1), st.integers(0, 99)
    )
    def test_frozen_masks(self, rows: int, columns: int, drop: float, lock: float, part: float, seed: int) -> None:
        keep = min(max(lock + part * (1 - drop - lock), 0.001, lock), 1 - drop)
        config = MaskConfig(seed=seed, drop=drop, lock=lock, keep=keep)
        layer = nn.Sequential(nn.Linear(columns, rows))
        words = draw_words(rows * columns, seed=seed, name="frozen:0")
        if drop + lock and (words < round(drop * 2**32) + round(lock * 2**32)).all():
            with pytest.raises(ValueError, match=f"0: drop and lock leave none of its {rows * columns} weights"):
                mask_(layer, config)
            return
        model = mask_(layer, config)
        masked, scores = masked_weight(model[0]), scores_of(model[0])
        masks = []
        for _ in range(4):
            with torch.no_grad():
                scores.normal_()
            masks.append(masked.mask(scores.detach()).flatten())
        layout = masked.layout
        locked = layout.locked if layout.locked is not None else torch.zeros(0, dtype=torch.long)
        assert all(bool((mask[locked] == 1).all()) for mask in masks)
        if layout.free is not None:
            fixed = torch.ones(rows * columns, dtype=torch.bool)
            fixed[layout.free] = False
            fixed[locked] = False
            assert not any(bool(mask[fixed].any()) for mask in masks)
        wanted = round(keep * rows * columns)
        reachable = min(max(wanted, len(locked)), len(locked) + layout.searched)
        assert {int(mask.sum()) for mask in masks} == {reachable}

    def test_a_frozen_pattern_is_of_the_fractions_asked_for(self) -> None:
        model = mask_(nn.Sequential(nn.Linear(400, 300)), MaskConfig(drop=0.3, lock=0.2))
        layout = masked_weight(model[0]).layout
        assert layout.locked is not None
        assert abs(layout.searched / 120_000 - 0.5) < 0.01
        assert abs(len(layout.locked) / 120_000 - 0.2) < 0.01
        assert int((model[0].weight != 0).sum()) == 60_000

    def test_frozen_scores_get_no_gradient(self) -> None:
        model = mask_(nn.Sequential(nn.Linear(8, 8)), MaskConfig(drop=0.3, lock=0.2))
        model(torch.randn(4, 8)).sum().backward()
        gradient, layout = scores_of(model[0]).grad, masked_weight(model[0]).layout
        assert gradient is not None
        assert layout.free is not None
        assert set(gradient.flatten().nonzero().flatten().tolist()) == set(layout.free.tolist())

    def test_rescaling_by_hand(self) -> None:
        weight = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
        scores = torch.tensor(
            [[9.0, 8.0, 7.0, 0.0], [6.0, 0.0, 0.0, 0.0]]
        )  # keeps three of the first row, one of the second
        factors = {
            "none": torch.ones(2, 4),
            "tensor": torch.full((2, 4), 2.0),
            "row": torch.tensor([[4 / 3] * 4, [4.0] * 4]),
            "column": torch.tensor([[1.0, 2, 2, 2], [1.0, 2, 2, 2]]),
        }
        for how, factor in factors.items():
            layer = nn.Linear(4, 2, bias=False)
            layer.weight.data.copy_(weight)
            model = mask_(nn.Sequential(layer), MaskConfig(rescale=how, init="existing"))
            with torch.no_grad():
                scores_of(model[0]).copy_(scores)
            kept = weight * torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
            torch.testing.assert_close(model[0].weight.detach(), kept * factor)
            x = torch.randn(3, 4)
            model(x).sum().backward()
            torch.testing.assert_close(scores_of(model[0]).grad, weight * factor * x.sum(0))

    def test_tiles_by_hand(self) -> None:
        """Two heads of two rows each, under one mask: a score's gradient is the sum of its weights'."""
        layer = nn.Linear(2, 4, bias=False)
        layer.weight.data.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]))
        model = mask_(nn.Sequential(layer), MaskConfig(tiles=(2, 1), init="existing"))
        assert scores_of(model[0]).shape == (2, 2)
        with torch.no_grad():
            scores_of(model[0]).copy_(torch.tensor([[4.0, 1.0], [2.0, 3.0]]))
        assert model[0].weight.tolist() == [[1, 0], [0, 4], [5, 0], [0, 8]]
        (model[0].weight * torch.arange(8.0).view(4, 2)).sum().backward()
        assert scores_of(model[0]).grad.tolist() == [[0 * 1 + 4 * 5, 1 * 2 + 5 * 6], [2 * 3 + 6 * 7, 3 * 4 + 7 * 8]]

    def test_tiles_that_do_not_fit(self) -> None:
        model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 5))
        with pytest.raises(ValueError, match=r"1: a weight of shape \(5, 6\) does not divide into 2 x 1 equal tiles"):
            mask_(model, MaskConfig(tiles=(2, 1)))
        assert not list(masked_modules(model))

    def test_stacks_use_one_anothers_matrices(self) -> None:
        model = mask_(Stacks(), MaskConfig(share="stack"))
        encoder, decoder = model.encoder["layers"][0], model.decoder["layers"][1]
        assert masked_weight(encoder.fc1).shared is masked_weight(decoder.fc1).shared
        assert masked_weight(encoder.fc1).shared is not masked_weight(encoder.fc2).shared
        assert scores_of(encoder.fc1) is not scores_of(decoder.fc1)

    def test_one_vector(self) -> None:
        model = mask_(
            nn.Sequential(nn.Linear(1100, 1000), nn.Linear(1000, 9), nn.Linear(9, 7)), MaskConfig(share="vector")
        )
        units = [masked_weight(module).shared.weight.flatten() * math.sqrt(module.in_features) for module in model]
        vector = units[0][:1_048_573]
        torch.testing.assert_close(units[0][1_048_573:], vector[: 1_100_000 - 1_048_573])
        for unit in units[1:]:
            torch.testing.assert_close(unit, vector[: unit.numel()])

    def test_layers_share_a_mask(self) -> None:
        model = mask_(Stacks(), MaskConfig(share="layer_mask"))
        first, second = (model.encoder["layers"][at].fc1 for at in (0, 2))
        assert scores_of(first) is scores_of(second)
        assert scores_of(first) is not scores_of(model.decoder["layers"][0].fc1)
        assert len([p for p in model.parameters() if p.requires_grad]) == 4
        model(torch.randn(3, 4)).sum().backward()
        assert scores_of(first).grad is not None


def train(model: nn.Module, optimizer: torch.optim.Optimizer, updates: range) -> None:
    for update in updates:
        torch.manual_seed(update)  # as fairseq does
        advance_(model, update)
        model.train()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            model(torch.randn(8, 4))


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)


def bits(model: nn.Module) -> dict[str, bytes]:
    return {name: tensor.detach().contiguous().numpy().tobytes() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", CONFIGS)
def test_resuming_equals_not_stopping(name: str, tmp_path: Path) -> None:
    whole = mask_(Stacks(), CONFIGS[name])
    start = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    train(whole, adam(whole), range(9))

    first = mask_(Stacks(), CONFIGS[name])
    first.load_state_dict(start)
    optimizer = adam(first)
    train(first, optimizer, range(4))
    torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")

    second = mask_(Stacks(), CONFIGS[name])
    advance_(second, 4)  # as fairseq does, before it loads
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    second.load_state_dict(state["model"])
    optimizer = adam(second)
    optimizer.load_state_dict(state["optimizer"])
    train(second, optimizer, range(4, 9))
    assert bits(second) == bits(whole)
    assert any(not torch.equal(tensor, start[name]) for name, tensor in whole.named_parameters())
    assert bits(fold_(second)) == bits(fold_(whole))


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_ticket_reloads_bit_for_bit(name: str, trained: bool, tmp_path: Path) -> None:
    model = mask_(Stacks(), CONFIGS[name])
    if trained:
        train(model, adam(model), range(8))
    path = tmp_path / "net.ticket"
    save_ticket(path, model)
    ticket = load_ticket(path)
    filled = ticket.fill_(Stacks())
    folded = fold_(copy.deepcopy(model))
    assert bits(filled) == bits(folded)
    x = torch.randn(5, 4)
    with torch.no_grad():
        assert torch.equal(filled(x), model.eval()(x))
    again = tmp_path / "again.ticket"
    save_ticket(again, model)
    assert again.read_bytes() == path.read_bytes()
    measured = sizes(ticket)
    assert measured.masks >= measured.bound - 1
    weights = [module.weight for _, module in masked_modules(model)]
    assert measured.dense // 4 == sum(weight.numel() for weight in weights)


def test_a_ticket_stores_only_what_is_searched(tmp_path: Path) -> None:
    def stored(**options: Any) -> int:
        model = mask_(nn.Sequential(nn.Linear(256, 256, bias=False)), MaskConfig(**options))
        save_ticket(tmp_path / "net.ticket", model)
        return sizes(load_ticket(tmp_path / "net.ticket")).masks

    assert stored() == 8192
    assert stored(tiles=(4, 1)) == 2048
    assert stored(drop=0.3, lock=0.3) == pytest.approx(0.4 * 8192, rel=0.05)
    assert stored(rule="signed") == pytest.approx(1.5 * 8192, rel=0.01)


class TestBadInput:
    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"rule": "edge_popup", "options": {"coats": [0.3]}}, "edge_popup has no option 'coats'.*of multicoat"),
            ({"rule": "multicoat", "options": {"evaluate": "sample"}}, "multicoat has no option 'evaluate'"),
            ({"rule": "multicoat", "options": {"coats": [0.1, 0.3]}}, r"coats must be .* not \(0.1, 0.3\)"),
            ({"rule": "multicoat", "options": {"coats": [0.3, 0.3]}}, "each smaller than the one before"),
            ({"rule": "multicoat", "options": {"coats": []}}, "coats must be"),
            ({"rule": "multicoat", "options": {"coats": "0.3"}}, "coats must be a list of numbers"),
            ({"rule": "multicoat", "keep": 0.3}, "keep: the rule multicoat has no keep ratio"),
            ({"rule": "bernoulli", "keep": 0.5}, "keep: the rule bernoulli has no keep ratio"),
            ({"rule": "bernoulli", "scale_fan": True}, "scale_fan: the rule bernoulli has no keep ratio"),
            ({"rule": "annealed", "options": {"schedule": "steps"}}, "schedule must be one of linear, .* not 'steps'"),
            ({"rule": "annealed", "options": {"last": 2.0}}, "last must be a temperature"),
            ({"rule": "annealed", "options": {"over": 1.5}}, "over must be an integer, not 1.5"),
            ({"rule": "bernoulli", "options": {"evaluate": "mean"}}, "evaluate must be one of threshold, sample"),
            ({"rule": "sigmoid_threshold", "options": {"threshold": 1}}, "threshold must be between 0 and 1"),
            ({"rule": "threshold", "options": {"threshold": math.nan}}, "threshold must be a finite number"),
            ({"rule": "gem_miner", "options": {"period": 0}}, "period must be at least 1"),
            ({"rule": "gem_miner", "options": {"over": 50}}, "over must be at least the period of 100"),
            ({"rule": "iterand", "options": {"fraction": 0}}, r"fraction must be in \(0, 1\], not 0"),
            ({"options": {"scope": "layer"}}, "scope must be one of tensor, global"),
            ({"options": {"ramp": -1}}, "ramp must be at least 0"),
            ({"options": {"scope": "global"}, "drop": 0.1}, "scope global goes with no drop"),
            ({"drop": 0.6, "keep": 0.5}, "keep 0.5 must be from lock 0.0 to 1 - drop 0.6"),
            ({"lock": 0.6, "keep": 0.5}, "keep 0.5 must be from lock 0.6"),
            ({"drop": 0.5, "lock": 0.5}, "must sum to less than 1"),
            ({"drop": 1.0}, r"drop must be in \[0, 1\), not 1.0"),
            ({"tiles": (0, 1)}, r"tiles must be two positive integers, not \(0, 1\)"),
            ({"tiles": 2}, "tiles must be"),
            ({"rescale": "rows"}, "unknown rescale 'rows'"),
            ({"share": "masks"}, "unknown share 'masks'"),
        ],
    )
    def test_one_line_before_anything_is_drawn(self, fields: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=says) as refusal:
            MaskConfig(**fields)
        assert "\n" not in str(refusal.value)

    def test_options_are_hashed_and_defaults_left_out(self) -> None:
        plain = MaskConfig(rule="multicoat", options={"coats": (0.3, 0.0788, 0.0315)})
        assert plain == MaskConfig(rule="multicoat")
        assert hash(plain) == hash(MaskConfig(rule="multicoat"))
        assert plain != MaskConfig(rule="multicoat", options={"coats": [0.3, 0.1]})


def test_schedules() -> None:
    for name in SCHEDULES:
        assert scheduled(name, 4.0, 1.0, 0, 10) == 4.0
        assert scheduled(name, 4.0, 1.0, 10, 10) == pytest.approx(1.0)
        assert scheduled(name, 4.0, 1.0, 99, 10) == pytest.approx(1.0)
    assert scheduled("linear", 4.0, 1.0, 5, 10) == 2.5
    assert scheduled("exponential", 4.0, 1.0, 5, 10) == 2.0
    assert scheduled("cosine", 4.0, 1.0, 5, 10) == pytest.approx(2.5)


def test_bernoulli_starts_with_chances_of_all_kinds() -> None:
    model = mask_(nn.Sequential(nn.Linear(100, 90)), MaskConfig(rule="bernoulli"))
    chances = torch.sigmoid(scores_of(model[0]).detach())
    assert 0.006 < float(chances.min()) < 0.02
    assert 0.98 < float(chances.max()) < 0.994
    assert abs(float(chances.mean()) - 0.5) < 0.02


@pytest.mark.parametrize(("last", "size"), [(255, 4), (256, 8), (32_767, 8)])
def test_numbers_of_draws_as_bytes(last: int, size: int) -> None:
    numbers = torch.tensor([[0, 1], [last, 7]], dtype=torch.int16)
    raw = _to_bytes(numbers)
    assert len(raw) == size
    assert torch.equal(_redraws(raw, WeightSpec("w", (2, 2), "signed_constant", 1, 1.0, "")), numbers)
