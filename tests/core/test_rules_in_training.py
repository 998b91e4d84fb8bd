"""Rules that change as training goes on: chances, temperatures, ranks of all tensors, redraws."""

from __future__ import annotations

import copy
from typing import ClassVar

import pytest
import torch
from torch import nn

from one_layer_lt import MaskConfig, advance_, fold_, mask_, masked_modules, masked_weight, scores_of
from one_layer_lt.rules.gem_miner import GemMiner
from one_layer_lt.rules.schedules import SCHEDULES, scheduled
from tests.support.configs import rule_of
from tests.support.models import Stacks


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
            rule.context.name = name
            samples.append(rule.mask(scores))
        assert torch.equal(samples[0], samples[1])
        assert not torch.equal(samples[0], samples[2])
        assert not torch.equal(samples[0], samples[3])
        assert abs(float(samples[0].mean()) - 0.2689414) < 0.01

    def test_folding_takes_the_evaluations_mask(self) -> None:
        model = mask_(nn.Sequential(nn.Linear(30, 30)), MaskConfig(rule="bernoulli"))
        expected = copy.deepcopy(model).eval()[0].weight
        assert torch.equal(fold_(model.train())[0].weight, expected)


def test_bernoulli_starts_with_chances_of_all_kinds() -> None:
    model = mask_(nn.Sequential(nn.Linear(100, 90)), MaskConfig(rule="bernoulli"))
    chances = torch.sigmoid(scores_of(model[0]).detach())
    assert 0.006 < float(chances.min()) < 0.02
    assert 0.98 < float(chances.max()) < 0.994
    assert abs(float(chances.mean()) - 0.5) < 0.02


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
        assert masked_weight(model[0]).joint is masked_weight(model[2]).joint


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

    def test_the_last_step_is_the_last_period_that_ends_in_time(self) -> None:
        rule, scores = GemMiner(keep=0.25, period=2, over=5, l2=0.0), nn.Parameter(torch.arange(1.0, 9.0) / 8)
        left = []
        for update in range(9):
            rule.advance([(None, scores)], update)  # type: ignore[list-item]
            left.append(int((scores >= 0).sum()))
        assert left == [8, 8, 4, 4, 2, 2, 2, 2, 2]

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


def test_schedules() -> None:
    for name in SCHEDULES:
        assert scheduled(name, 4.0, 1.0, 0, 10) == 4.0
        assert scheduled(name, 4.0, 1.0, 10, 10) == pytest.approx(1.0)
        assert scheduled(name, 4.0, 1.0, 99, 10) == pytest.approx(1.0)
    assert scheduled("linear", 4.0, 1.0, 5, 10) == 2.5
    assert scheduled("exponential", 4.0, 1.0, 5, 10) == 2.0
    assert scheduled("cosine", 4.0, 1.0, 5, 10) == pytest.approx(2.5)
