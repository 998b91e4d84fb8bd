"""Magnitude pruning: masks worked out by hand, what always holds of them, and models that carry them."""

from __future__ import annotations

import copy
from typing import Callable

import pytest
import torch
from hypothesis import given, strategies
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn

from one_layer_lt import MaskConfig, mask_
from one_layer_lt.pruning import (
    SCOPES,
    count_kept,
    fold_pruned_,
    magnitude_masks,
    prunable_,
    prune_,
    pruned_modules,
    pruned_weight,
)
from one_layer_lt.selection import kept_count
from one_layer_lt.trained import trained_weight

NewModel = Callable[[str], "tuple[nn.Module, Tensor]"]
KINDS = ["stacks", "tied", "images"]
WEIGHTS = {"a": torch.tensor([[1.0, -5.0], [2.0, 0.0]]), "b": torch.tensor([-3.0, 4.0])}


def ones(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def lists(masks: dict[str, Tensor]) -> dict[str, list]:
    return {name: mask.int().tolist() for name, mask in masks.items()}


def joined(tensors: dict[str, Tensor], names: list[str]) -> Tensor:
    return torch.cat([tensors[name].flatten() for name in names])


class TestMasks:
    @pytest.mark.parametrize(
        ("scope", "keep", "expected"),
        [
            ("global", 0.5, {"a": [[0, 1], [0, 0]], "b": [1, 1]}),
            ("tensor", 0.5, {"a": [[0, 1], [1, 0]], "b": [0, 1]}),
            ("global", 1.0, {"a": [[1, 1], [1, 1]], "b": [1, 1]}),
            ("tensor", 0.1, {"a": [[0, 0], [0, 0]], "b": [0, 0]}),
        ],
    )
    def test_by_hand(self, scope: str, keep: float, expected: dict[str, list]) -> None:
        masks = magnitude_masks(WEIGHTS, ones(WEIGHTS), keep, scope)
        assert lists(masks) == expected
        assert all(mask.dtype == torch.bool for mask in masks.values())

    def test_pruned_weight_never_returns(self) -> None:
        """Without -5 and 4, those left are 3, 2, 1 and 0: half of all six is the first three, two thirds all four."""
        before = {"a": torch.tensor([[1, 0], [1, 1]]), "b": torch.tensor([1, 0])}
        assert lists(magnitude_masks(WEIGHTS, before, 0.5, "global")) == {"a": [[1, 0], [1, 0]], "b": [1, 0]}
        assert lists(magnitude_masks(WEIGHTS, before, 2 / 3, "global")) == lists(before)
        assert before["a"].tolist() == [[1, 0], [1, 1]]

    def test_ties_keep_the_first(self) -> None:
        weights = {"a": torch.tensor([1.0, -1.0, 1.0]), "b": torch.tensor([[-1.0], [1.0], [0.0]])}
        assert lists(magnitude_masks(weights, ones(weights), 2 / 3, "global")) == {"a": [1, 1, 1], "b": [[1], [0], [0]]}
        assert lists(magnitude_masks(weights, ones(weights), 2 / 3, "tensor")) == {"a": [1, 1, 0], "b": [[1], [1], [0]]}

    def test_view_that_is_not_contiguous(self) -> None:
        weights = {"a": WEIGHTS["a"].t()}
        assert lists(magnitude_masks(weights, ones(weights), 0.5, "global")) == {"a": [[0, 1], [1, 0]]}

    @given(
        strategies.data(),
        strategies.sampled_from(SCOPES),
        strategies.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    )
    def test_always(self, data: strategies.DataObject, scope: str, dtype: torch.dtype) -> None:
        """Exactly k are kept, each from those kept before, and none that was dropped now exceeds one that was kept."""
        values = strategies.integers(-4, 4)  # few, so that there are ties
        shapes = data.draw(strategies.lists(arrays.array_shapes(max_dims=2, max_side=6), min_size=1, max_size=3))
        weights = {
            str(number): torch.from_numpy(data.draw(arrays.arrays("int64", shape, elements=values))).to(dtype)
            for number, shape in enumerate(shapes)
        }
        masks = ones(weights)
        keeps = data.draw(strategies.lists(strategies.floats(0.01, 1), min_size=2, max_size=3))
        for keep in sorted(keeps, reverse=True):
            before, masks = masks, magnitude_masks(weights, masks, keep, scope)
            assert all(masks[name].shape == weight.shape for name, weight in weights.items())
            for names in [list(weights)] if scope == "global" else [[name] for name in weights]:
                old, mask, size = (joined(tensors, names) for tensors in (before, masks, weights))
                assert mask.sum() == kept_count(keep, len(mask))
                assert not (mask & ~old).any()
                kept, dropped = size[mask].abs(), size[old & ~mask].abs()
                assert not (len(kept) and len(dropped)) or kept.min() >= dropped.max()

    @pytest.mark.parametrize(
        ("keep", "scope", "says"),
        [
            (0.0, "global", r"keep must be in \(0, 1\], not 0.0"),
            (1.5, "global", "not 1.5"),
            (float("nan"), "global", "not nan"),
            (0.5, "layer", "scope layer: unknown; choose one of: global, tensor"),
        ],
    )
    def test_bad_values(self, keep: float, scope: str, says: str) -> None:
        with pytest.raises(ValueError, match=says):
            magnitude_masks(WEIGHTS, ones(WEIGHTS), keep, scope)

    def test_bad_tensors(self) -> None:
        masks = ones(WEIGHTS)
        for weights, given_masks, keep, scope, says in [
            ({}, {}, 0.5, "global", "no weights to prune"),
            (WEIGHTS, {"a": masks["a"]}, 0.5, "global", "weights and masks differ in b"),
            (WEIGHTS, {**masks, "b": masks["a"]}, 0.5, "global", r"b: a weight of shape \(2,\), a mask of \(2, 2\)"),
            ({**WEIGHTS, "b": torch.tensor([1, torch.inf])}, masks, 0.5, "global", "b: its weights are not finite"),
            (WEIGHTS, {**masks, "b": ~masks["b"]}, 1.0, "global", "keep 1.0 is 6 of 6 weights, but 4 are left"),
            (WEIGHTS, {**masks, "b": ~masks["b"]}, 0.5, "tensor", "keep 0.5 is 1 of 2 weights of b, but 0 are left"),
        ]:
            with pytest.raises(ValueError, match=says):
                magnitude_masks(weights, given_masks, keep, scope)


class TestModels:
    @pytest.mark.parametrize("kind", KINDS)
    def test_masks_of_ones_change_nothing(self, kind: str, new_model: NewModel) -> None:
        model, x = new_model(kind)
        expected, parameters = model(x), {id(parameter) for parameter in model.parameters()}
        assert prunable_(model) is model
        assert torch.equal(model(x), expected)
        assert {id(parameter) for parameter in model.parameters()} == parameters
        kept, weights = count_kept(model)
        assert kept == weights == sum(p.numel() for name, p in model.named_parameters() if name.endswith("original"))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("scope", SCOPES)
    def test_prune_train_prune(self, kind: str, scope: str, new_model: NewModel) -> None:
        model, x = new_model(kind)
        prunable_(model)
        start = {name: parameter.clone() for name, parameter in model.named_parameters()}
        assert prune_(model, 0.6, scope) is model
        assert all(torch.equal(parameter, start[name]) for name, parameter in model.named_parameters())
        first = {name: pruned_weight(module).mask.clone() for name, module in pruned_modules(model)}
        model(x).square().sum().backward()
        for name, module in pruned_modules(model):
            weight = trained_weight(module)
            assert weight.grad is not None
            assert not weight.grad[~first[name]].any()
            assert not module.weight[~first[name]].any()
            assert torch.equal(module.weight[first[name]], weight[first[name]])
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        prune_(model, 0.3, scope)
        _, weights = count_kept(model)
        sizes = {trained_weight(module): trained_weight(module).numel() for _, module in pruned_modules(model)}
        expected = kept_count(0.3, weights) if scope == "global" else sum(kept_count(0.3, n) for n in sizes.values())
        assert count_kept(model) == (expected, sum(sizes.values()))
        assert all((pruned_weight(module).mask <= first[name]).all() for name, module in pruned_modules(model))

    @pytest.mark.parametrize("kind", KINDS)
    def test_fold(self, kind: str, new_model: NewModel) -> None:
        model, x = new_model(kind)
        names = set(model.state_dict())
        prune_(prunable_(model), 0.5)
        other, expected = copy.deepcopy(model), model(x)
        assert fold_pruned_(model) is model
        assert torch.equal(model(x), expected)
        assert set(model.state_dict()) == names
        plain = (nn.Linear, nn.Embedding, nn.Conv2d)
        assert all(type(module) in plain for module in model.modules() if isinstance(module, plain))
        assert all(parameter.requires_grad for parameter in model.parameters())
        assert not list(pruned_modules(model))
        assert torch.equal(other(x), expected)
        assert fold_pruned_(model) is model

    def test_tied_modules_stay_tied(self, tied: nn.Module) -> None:
        weight = tied.embed.weight
        prune_(prunable_(tied), 0.5)
        assert trained_weight(tied.embed) is trained_weight(tied.head) is weight
        assert pruned_weight(tied.embed) is pruned_weight(tied.head)
        assert count_kept(tied) == (22, 7 * 4 + 4 * 4)
        fold_pruned_(tied)
        assert tied.embed.weight is tied.head.weight
        assert (tied.embed.weight == 0).sum() + (tied.fc.weight == 0).sum() == 22

    def test_state_dict_restores_weights_and_masks(self, new_model: NewModel) -> None:
        (first, x), (second, _) = new_model("tied"), new_model("tied")
        prune_(prunable_(first), 0.4)
        prunable_(second).load_state_dict(first.state_dict())
        assert torch.equal(first(x), second(x))
        assert count_kept(first) == count_kept(second)

    def test_refuses_and_leaves_as_it_was(self, images: nn.Module, stacks: nn.Module) -> None:
        with pytest.raises(ValueError, match="there are no weights: the model has no linear layer"):
            prunable_(nn.Sequential(nn.ReLU()))
        with pytest.raises(ValueError, match=r"conv.weight is parametrized already"):
            prunable_(mask_(images, MaskConfig()))
        stacks.decoder["layers"][1].norm.extra = stacks.encoder["layers"][0].fc1.weight
        with pytest.raises(ValueError, match=r"decoder.layers.1.norm.extra is tied"):
            prunable_(stacks)
        assert not list(pruned_modules(stacks))

    def test_prune_needs_a_prunable_model(self, images: nn.Module) -> None:
        with pytest.raises(ValueError, match="no weights to prune"):
            prune_(images, 0.5)
