"""Rounding to a few bits: worked out by hand, what always holds of it, and models that train through it."""

from __future__ import annotations

import copy
from typing import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from one_layer_lt import MaskConfig, mask_
from one_layer_lt.rounding import (
    BITS,
    STEPS,
    RoundedWeight,
    best_scale,
    fold_rounded_,
    integers,
    largest,
    mean_scale,
    round_weights_,
    rounded,
)
from one_layer_lt.trained import parametrization_of, parametrized_modules, trained_weight

NewModel = Callable[[str], "tuple[nn.Module, Tensor]"]
KINDS = ["stacks", "tied", "images"]


def randn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_largest(weight: Tensor, bits: int) -> Tensor:
    """The scale at which no weight is beyond the largest number."""
    return (weight.abs().amax(1, keepdim=True) / largest(bits)).half()


def error(weight: Tensor, bits: int, scale_of: Callable[[Tensor, int], Tensor]) -> Tensor:
    """The squared error of each row."""
    return (rounded(weight, bits, scale_of) - weight).square().sum(1)


class TestRounding:
    def test_rows_have_their_own_scale(self) -> None:
        weight = torch.tensor([[7.0, -3.0, 1.0], [0.0, 0.0, 0.0], [-1.75, 0.25, 0.75]])
        numbers, scale = integers(weight, 4)
        assert numbers.tolist() == [[7, -3, 1], [0, 0, 0], [-7, 1, 3]]
        assert scale.dtype == torch.float16
        assert scale[[0, 2]].tolist() == [[1.0], [0.25]]
        assert torch.equal(rounded(weight, 4), weight)

    def test_three_values_do_not_follow_an_outlier(self) -> None:
        """By its largest value, a row of ones and a 4 would round its ones to 0."""
        weight = torch.tensor([[4.0, *[1.0] * 30]])
        numbers, scale = integers(weight, 2)
        assert numbers.tolist() == [[1] * 31]
        assert float(scale) == pytest.approx(34 / 31, rel=0.04)

    def test_means_by_hand(self) -> None:
        """Mean magnitude 1, so steps of 1.534 and 0.4429."""
        weight = torch.tensor([[2.0, -1.0, 0.7, 0.3]])
        for bits, expected in ((2, [[1, -1, 0, 0]]), (4, [[5, -2, 2, 1]])):
            numbers, scale = integers(weight, bits, mean_scale)
            assert numbers.tolist() == expected
            assert float(scale) == pytest.approx(STEPS[bits], rel=1e-3)

    @pytest.mark.parametrize("bits", BITS)
    def test_mean_steps_are_the_best_of_gaussian_weights(self, bits: int) -> None:
        quantiles = torch.special.ndtri((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000)
        mean = quantiles.abs().mean()

        def loss(step: float) -> float:
            numbers = (quantiles / (step * mean)).round().clamp(-largest(bits), largest(bits))
            return float((numbers * step * mean - quantiles).square().mean())

        assert loss(STEPS[bits]) < min(loss(0.98 * STEPS[bits]), loss(1.02 * STEPS[bits]))

    @given(st.integers(0, 2**31), st.sampled_from(BITS), st.sampled_from([2, 7, 100]))
    def test_best_scale(self, seed: int, bits: int, columns: int) -> None:
        """Never worse than the scale by the largest value, and rounding twice is rounding once."""
        weight = randn(5, columns, seed=seed)
        once = rounded(weight, bits)
        assert (error(weight, bits, best_scale) <= error(weight, bits, by_largest)).all()
        assert torch.equal(rounded(once, bits), once)
        assert all(len(row.unique()) <= 2**bits - 1 for row in once)

    @pytest.mark.parametrize("bits", [2, 3, 4])
    def test_best_scale_is_as_good_as_the_gaussian_one(self, bits: int) -> None:
        weight = randn(40, 2000)
        best, mean = (error(weight, bits, scale_of).sum() for scale_of in (best_scale, mean_scale))
        assert best < 1.01 * mean
        assert best < 0.8 * error(weight, bits, by_largest).sum()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_dtypes(self, dtype: torch.dtype) -> None:
        weight = randn(3, 50).to(dtype)
        for scale_of in (best_scale, mean_scale):
            found = rounded(weight, 3, scale_of)
            assert found.dtype == dtype
            assert (found - weight).abs().max() < weight.abs().max()


class TestModels:
    @pytest.mark.parametrize("kind", KINDS)
    def test_weights_are_rounded_as_they_are_used(self, kind: str, new_model: NewModel) -> None:
        model, x = new_model(kind)
        parameters = {id(parameter) for parameter in model.parameters()}
        plain = copy.deepcopy(model)
        with torch.no_grad():
            for weight in {m.weight for m in plain.modules() if isinstance(m, (nn.Linear, nn.Embedding, nn.Conv2d))}:
                weight.flatten(1).copy_(rounded(weight.flatten(1), 2, mean_scale))
        assert round_weights_(model, 2) is model
        assert {id(parameter) for parameter in model.parameters()} == parameters
        assert torch.equal(model(x), plain(x))

    def test_gradient_passes_straight_through(self) -> None:
        model = round_weights_(nn.Linear(4, 1, bias=False), 2)
        trained_weight(model).data.copy_(torch.tensor([[2.0, -1.0, 0.7, 0.3]]))
        x = torch.tensor([1.0, 10.0, 100.0, 1000.0])
        (3 * model(x)).sum().backward()
        step = float(torch.tensor(STEPS[2]).half())
        assert model(x).item() == pytest.approx(step * (1 - 10))
        assert trained_weight(model).grad.tolist() == [[3.0, 30.0, 300.0, 3000.0]]

    @pytest.mark.parametrize("kind", KINDS)
    def test_fold(self, kind: str, new_model: NewModel) -> None:
        model, x = new_model(kind)
        names = set(model.state_dict())
        other = copy.deepcopy(round_weights_(model, 3))
        expected = model(x)
        assert fold_rounded_(model) is model
        assert torch.equal(model(x), expected)
        assert set(model.state_dict()) == names
        assert not list(parametrized_modules(model, RoundedWeight))
        assert torch.equal(other(x), expected)
        assert fold_rounded_(model) is model

    def test_tied_modules_stay_tied(self, tied: nn.Module) -> None:
        weight = tied.embed.weight
        round_weights_(tied, 2)
        assert trained_weight(tied.embed) is trained_weight(tied.head) is weight
        assert parametrization_of(tied.embed) is parametrization_of(tied.head)
        assert torch.equal(tied.embed.weight, tied.head.weight)
        tied(torch.tensor([1, 2])).sum().backward()
        assert weight.grad is not None
        fold_rounded_(tied)
        assert tied.embed.weight is tied.head.weight
        assert all(len(row.unique()) <= 3 for row in tied.embed.weight)

    def test_state_dict_holds_what_is_trained(self, new_model: NewModel) -> None:
        (first, x), (second, _) = new_model("tied"), new_model("tied")
        before = {
            name.replace(".weight", ".parametrizations.weight.original"): t for name, t in first.state_dict().items()
        }
        round_weights_(second, 2).load_state_dict(round_weights_(first, 2).state_dict())
        assert torch.equal(first(x), second(x))
        after = first.state_dict()
        assert after.keys() == before.keys()
        assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())

    def test_refuses_and_leaves_as_it_was(self, images: nn.Module) -> None:
        for bits in (1, 9):
            with pytest.raises(ValueError, match=f"bits must be a whole number from 2 to 8, not {bits}"):
                round_weights_(images, bits)
        assert not list(parametrized_modules(images, RoundedWeight))
        with pytest.raises(ValueError, match=r"conv\.weight is parametrized already"):
            round_weights_(mask_(images, MaskConfig()), 2)
