"""one_layer_lt/lab/approximation.py, with answers worked out by hand, and by trying every subset."""

from __future__ import annotations

import math
from itertools import chain, combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from one_layer_lt import MaskConfig
from one_layer_lt.lab import approximation as lab

FLOATS = st.floats(-4, 4, width=32)


def chosen(method: str, values: list[float], target: float) -> list[float]:
    mask = lab.METHODS[method](np.array([values]), np.array([target]))
    assert mask.shape == (1, len(values))
    return [value for value, kept in zip(values, mask[0]) if kept]


@pytest.mark.parametrize(
    ("values", "target", "subset"),
    [
        ([1, 2, 4, 8], 11, [1, 2, 8]),
        ([1, 2, 4, 8], 6.4, [2, 4]),
        ([1, 2, 4, 8], -3, []),
        ([-1, 3, 5], 1.9, [-1, 3]),
        ([-1, 3, 5], 100, [3, 5]),
        ([2], 0.9, []),
        ([2], 1.1, [2]),
    ],
)
def test_the_nearest_subset(values: list[float], target: float, subset: list[float]) -> None:
    assert chosen("subset", values, target) == subset


@pytest.mark.parametrize(("target", "nearest"), [(4, 5), (0, 1), (-9, -2), (1.2, 1)])
def test_the_nearest_candidate_alone(target: float, nearest: float) -> None:
    assert chosen("single", [1, -2, 5], target) == [nearest]


@given(st.lists(FLOATS, min_size=1, max_size=7), FLOATS)
def test_no_subset_is_nearer(values: list[float], target: float) -> None:
    every = chain.from_iterable(combinations(values, size) for size in range(len(values) + 1))
    least = min(abs(math.fsum(subset) - target) for subset in every)
    assert abs(sum(chosen("subset", values, target)) - target) == pytest.approx(least, abs=1e-9)


def test_more_candidates_than_can_be_searched() -> None:
    with pytest.raises(ValueError, match="41 candidates for a weight: the exact search takes at most 40"):
        lab.best_subset(np.zeros((1, 41)), np.zeros(1))


def test_a_product_of_layers_by_hand() -> None:
    first = np.array([[0.5, 1.0], [0.25, 0.75]])  # two inputs, two neurons for each
    second = np.array([[[2.0, 4.0], [8.0, -4.0]]])
    found = lab.Imitation(first, second, np.array([[[True, True], [False, True]]]))
    assert found.weight.tolist() == [[5.0, -3.0]]
    outer, inner = found.layers()
    assert outer.tolist() == [[0.5, 0], [1, 0], [0, 0.25], [0, 0.75]]
    assert inner.tolist() == [[2, 4, 0, -4]]


@pytest.mark.parametrize("method", lab.METHODS)
def test_masked_random_layers_with_a_relu_compute_the_imitated_weight(method: str) -> None:
    generator = np.random.default_rng(1)
    weight, x = generator.normal(size=(3, 4)), generator.uniform(0, 1, (6, 4))
    found = lab.imitate(weight, 10, method, generator)
    outer, inner = found.layers()
    assert np.maximum(x @ outer.T, 0) @ inner.T == pytest.approx(x @ found.weight.T)
    assert (found.mask.sum(2) == 1).all() == (method == "single")


def test_errors_fall_as_the_bounds_say() -> None:
    weight = np.random.default_rng(1).uniform(-1, 1, (8, 8))

    def error(method: str, n: int) -> float:
        return float(np.median(abs(lab.imitate(weight, n, method, np.random.default_rng(2)).weight - weight)))

    assert 8 < error("single", 16) / error("single", 256) < 32  # about 16
    assert 2**5 < error("subset", 4) / error("subset", 12) < 2**10  # about 2**8, by the bound
    assert error("subset", 12) < error("single", 256) / 4


def test_intervals_and_errors_by_hand() -> None:
    assert lab.interval([1, 3]) == pytest.approx((2, 2 - 12.706, 2 + 12.706))
    assert lab.relative_error(np.array([3.0, 4.0]), np.array([3.0, 9.0])) == pytest.approx(5 / math.sqrt(90))


@pytest.fixture
def given_network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False))


@pytest.mark.parametrize("times", [1, 3])
def test_a_widened_network_computes_the_same(given_network: nn.Sequential, times: int) -> None:
    wide, x = lab.widened(given_network, times), torch.randn(7, 5)
    assert [tuple(each.shape) for each in wide.parameters()] == [(4 * times, 5), (3, 4 * times)]
    assert torch.allclose(wide(x), given_network(x), atol=1e-6)


@pytest.mark.parametrize("rule", ["edge_popup", "sign"])
def test_projected_masks_start_nearer_and_the_search_brings_them_nearer(
    given_network: nn.Sequential, rule: str
) -> None:
    wide, x = lab.widened(given_network, 8), torch.rand(64, 5)
    wanted = given_network(x).detach()
    config = MaskConfig(rule=rule, share="none")

    def error(masked: nn.Module) -> float:
        return lab.relative_error(masked(x).detach().numpy(), wanted.numpy())

    projected = lab.masked_like(wide, config, projected=True)
    at_first = error(projected)
    assert at_first < error(lab.masked_like(wide, config, projected=False))
    assert {name.rpartition(".")[2] for name, each in projected.named_parameters() if each.requires_grad} == {
        "original"
    }
    lab.search_(projected, x, wanted, steps=60, lr=0.01)
    assert error(projected) < at_first
