"""Mask configurations that between them use every rule, option and layout."""

from __future__ import annotations

from typing import Any

from one_layer_lt import RULES, MaskConfig
from one_layer_lt.rules import MaskRule

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
    """A rule with options of its own, and the default keep."""
    return MaskConfig(rule=name, options=options).new_rule()
