"""Masks that would keep nothing are refused before anything has changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from one_layer_lt import MaskConfig, mask_
from one_layer_lt.layout import _least
from one_layer_lt.selection import kept_count


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 3))


def refusal(**settings: Any) -> str:
    model = net()
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(ValueError, match="none of the") as refused:
        mask_(model, MaskConfig(**settings))
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters()))
    assert all(parameter.requires_grad for parameter in model.parameters())
    return str(refused.value)


def test_keep_is_named_and_the_least_that_keeps_one() -> None:
    assert refusal(keep=1e-9) == "keep 1e-09 keeps none of the 8 weights of 0: the least that keeps one is 0.063"
    assert refusal(keep=0.0625).endswith("the least that keeps one is 0.063")  # round(0.5) is 0
    assert refusal(keep=0.07) == "keep 0.07 keeps none of the 6 weights of 1: the least that keeps one is 0.084"
    mask_(net(), MaskConfig(keep=0.084))


@pytest.mark.parametrize("settings", [{"options": {"scope": "global"}}, {"rule": "gem_miner"}])
def test_of_tensors_ranked_together_all_weights_count(settings: dict[str, Any]) -> None:
    said = "keep 0.03 keeps none of the 14 weights that are ranked together: the least that keeps one is 0.0358"
    assert refusal(keep=0.03, **settings) == said
    mask_(net(), MaskConfig(keep=0.0358, **settings))


def test_other_ratios() -> None:
    said = "options: multicoat with coats (1e-09,) keeps none of the 8 weights of 0: keep more"
    assert refusal(rule="multicoat", options={"coats": [1e-9]}) == said
    mask_(net(), MaskConfig(rule="threshold", options={"threshold": 1e9}))  # which keeps 0.5% at least


def test_what_is_locked_is_kept() -> None:
    locked = MaskConfig(keep=0.05, lock=0.04, seed=1)
    mask_(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), MaskConfig(keep=0.5, lock=0.4))
    with pytest.raises(ValueError, match=r"keep 0\.05 keeps none"):
        mask_(net(), locked)


@pytest.mark.parametrize("first", [MaskConfig(rule="threshold"), MaskConfig(lock=0.4)], ids=["threshold", "locked"])
def test_what_comes_after_a_mask_that_keeps_some_is_checked_too(first: MaskConfig) -> None:
    configs = {"0": first, "1": MaskConfig(keep=0.01)}
    with pytest.raises(ValueError, match=r"^keep 0\.01 keeps none of the 6 weights of 1: "):
        mask_(net(), configure=lambda name, _: configs[name])


@given(st.integers(1, 1 << 30))
@example(1)
@example(4)
@example(1 << 22)
def test_the_least_keeps_one_as_it_is_shown(n: int) -> None:
    least = float(f"{_least(n):g}")
    assert kept_count(least, n) == 1
    assert least <= max(0.6, 0.53 * n) / n
