from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_layer_lt import INITS, RULES, MaskConfig
from one_layer_lt.config import SCORE_INITS
from one_layer_lt.sharing import SHARES


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("keep", 0.0, r"keep must be in \(0, 1\], not 0.0"),
        ("keep", -0.1, "keep .* not -0.1"),
        ("keep", 1.0000001, "keep .* not 1.0000001"),
        ("keep", math.nan, "keep .* not nan"),
        ("keep", math.inf, "keep .* not inf"),
        ("keep", True, "keep .* not True"),
        ("keep", "0.5", "keep .* not '0.5'"),
        ("scale", 0.0, "scale must be a positive number, not 0.0"),
        ("scale", -1.0, "scale .* not -1.0"),
        ("scale", math.inf, "scale .* not inf"),
        ("scale", math.nan, "scale .* not nan"),
        ("scale", "1", "scale .* not '1'"),
        ("seed", 1.5, "seed must be an integer, not 1.5"),
        ("seed", "1", "seed .* not '1'"),
        ("seed", True, "seed .* not True"),
        ("seed", None, "seed .* not None"),
        ("scale_fan", "false", "scale_fan must be True or False, not 'false'"),
        ("scale_fan", 1, "scale_fan .* not 1"),
        ("rule", "popup", "unknown rule 'popup'; choose one of: .*edge_popup"),
        ("rule", None, "unknown rule None"),
        ("rule", ["topk"], r"unknown rule \['topk'\]"),
        ("init", "kaiming", "unknown init 'kaiming'; choose one of: kaiming_uniform, .*existing"),
        ("share", "all", "unknown share 'all'; choose one of: none, layer"),
        ("score_init", "zeros", "unknown score_init 'zeros'; choose one of: standard, constant, constant_noisy"),
    ],
)
def test_a_bad_value_is_refused_by_field_and_value(field: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        MaskConfig(**{field: value})


@given(
    st.builds(
        MaskConfig,
        seed=st.integers(),
        keep=st.floats(0, 1, exclude_min=True),
        rule=st.sampled_from([name for name, rule in RULES.items() if hasattr(rule, "keep")]),
        init=st.sampled_from([*INITS, "existing"]),
        scale=st.floats(0, 1e30, exclude_min=True),
        scale_fan=st.booleans(),
        share=st.sampled_from(sorted(SHARES)),
        score_init=st.sampled_from(SCORE_INITS),
    )
)
def test_every_good_value_is_accepted_and_survives_a_copy(config: MaskConfig) -> None:
    assert MaskConfig(**dataclasses.asdict(config)) == config
    assert hash(dataclasses.replace(config)) == hash(config)


def test_keep_may_be_just_what_is_locked_or_all_that_is_not_dropped() -> None:
    assert MaskConfig(keep=0.25, lock=0.25).new_rule().keep == 0.25
    assert MaskConfig(keep=0.75, drop=0.25).new_rule().keep == 0.75


def test_defaults_are_the_papers() -> None:
    config = MaskConfig()
    assert (config.keep, config.rule, config.init) == (0.5, "edge_popup", "kaiming_uniform")
    assert (config.share, config.score_init, config.scale_fan) == ("layer", "standard", False)


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MaskConfig().keep = 0.1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("keep", "scale", "scale_fan", "factor"),
    [(0.25, 1.0, False, 1.0), (0.25, 1.0, True, 2.0), (0.25, 3.0, True, 6.0), (0.25, 3.0, False, 3.0), (1, 1, True, 1)],
)
def test_weight_scale(keep: float, scale: float, scale_fan: bool, factor: float) -> None:
    """Counting only kept weights as fan divides the variance by keep: a smaller keep, larger weights."""
    assert MaskConfig(keep=keep, scale=scale, scale_fan=scale_fan).weight_scale == factor
