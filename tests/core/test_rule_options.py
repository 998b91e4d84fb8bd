"""Settings and options of rules that cannot be."""

from __future__ import annotations

import math
from typing import Any

import pytest

from one_layer_lt import RULES, MaskConfig
from one_layer_lt.config import option_fields


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
            ({"rule": "annealed", "options": {"first": 0.0}}, "annealed: first must be a positive temperature, not 0"),
            ({"rule": "annealed", "options": {"last": 0.0}}, r"last must be a temperature in \(0, 1.0\], not 0.0"),
            ({"rule": "annealed", "options": {"over": -1}}, "over must be at least 0 updates, not -1"),
            ({"rule": "annealed", "options": {"over": 1.5}}, "over must be an integer, not 1.5"),
            ({"rule": "bernoulli", "options": {"evaluate": "mean"}}, "evaluate must be one of threshold, sample"),
            ({"rule": "sigmoid_threshold", "options": {"threshold": 1}}, "threshold must be between 0 and 1"),
            ({"rule": "threshold", "options": {"threshold": math.nan}}, "threshold must be a finite number"),
            ({"rule": "gem_miner", "options": {"period": 0}}, "period must be at least 1"),
            ({"rule": "gem_miner", "options": {"l2": 1.0}}, r"l2 must be in \[0, 1\), not 1.0"),
            ({"rule": "gem_miner", "options": {"l2": -0.1}}, r"l2 must be in \[0, 1\), not -0.1"),
            ({"rule": "iterand", "options": {"period": 0}}, "period must be at least 1 update, not 0"),
            ({"rule": "iterand", "options": {"fraction": 1.1}}, r"fraction must be in \(0, 1\], not 1.1"),
            ({"rule": "multicoat", "options": {"coats": [1.1]}}, r"coats must be 1 to 16 fractions in \(0, 1\]"),
            ({"rule": "multicoat", "options": {"coats": [1 / n for n in range(1, 18)]}}, "coats must be 1 to 16"),
            ({"rule": "sigmoid_threshold", "options": {"threshold": 0.0}}, "threshold must be between 0 and 1, not 0"),
            ({"rule": "gem_miner", "options": {"over": 50}}, "over must be at least the period of 100"),
            ({"rule": "iterand", "options": {"fraction": 0}}, r"fraction must be in \(0, 1\], not 0"),
            ({"options": {"scope": "layer"}}, "scope must be one of tensor, global"),
            ({"rule": "iterand", "options": {"scope": "layer"}}, "scope must be one of tensor, global"),
            ({"options": {"ramp": -1}}, "ramp must be at least 0"),
            (
                {"options": {"scope": "global"}, "drop": 0.1},
                "scope global ranks all tensors together; use it without drop",
            ),
            (
                {"drop": 0.6, "keep": 0.5},
                "keep 0.5 must be at least lock 0.0, and at most what drop 0.6 leaves: from 0 to 0.4",
            ),
            ({"lock": 0.6, "keep": 0.5}, "keep 0.5 must be at least lock 0.6"),
            ({"drop": 0.5, "lock": 0.5}, "make their sum less than 1"),
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


def test_defaults_are_for_good() -> None:
    """A ticket leaves them out: with another default, old ones would mean another mask."""
    ranked = {"scope": "tensor", "ramp": 0}
    annealed = {"first": 1.0, "last": 0.02, "over": 2000, "schedule": "exponential"}
    assert {rule: option_fields(rule) for rule in RULES} == {
        "edge_popup": ranked,
        "topk": ranked,
        "biprop": ranked,
        "signed": {**ranked, "threshold": None},
        "iterand": {**ranked, "period": 300, "fraction": 0.1},
        "sign": {},
        "threshold": {"threshold": 0.0},
        "sigmoid_threshold": {"threshold": 0.5},
        "bernoulli": {"evaluate": "threshold", "sample_seed": 1},
        "annealed": annealed,
        "continuous": {**annealed, "last": 0.1},
        "gem_miner": {"period": 100, "over": 1000, "l2": 1e-5},
        "multicoat": {"coats": (0.3, 0.0788, 0.0315)},
    }
    config = MaskConfig()
    assert (config.rescale, config.drop, config.lock, config.tiles) == ("none", 0.0, 0.0, (1, 1))
    assert {RULES[rule]().keep for rule in RULES if hasattr(RULES[rule], "keep")} == {0.5}
