"""fairseq's settings composed by Hydra once for each set of names: a second call sets the values that differ.

Composing takes as long as a short training, and the tests ask for it at each training and each translation.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import fairseq
import hydra
from fairseq.dataclass import utils
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

CONFIG = Path(fairseq.__file__).with_name("config")
_composed: dict[Any, tuple[DictConfig, list[str]]] = {}


def compose(config_name: str, overrides: Sequence[str], strict: bool) -> DictConfig:
    """As ``hydra.compose``, called as fairseq calls it."""
    names = tuple(override.partition("=")[0] for override in overrides)
    groups = tuple(override for name, override in zip(names, overrides) if "." not in name)
    if (names, groups) not in _composed:
        with hydra.initialize_config_dir(str(CONFIG)):
            made = hydra.compose(config_name, overrides=list(overrides), strict=strict)
        _composed[names, groups] = made, list(overrides)
    made, before = _composed[names, groups]
    found = copy.deepcopy(made)
    for changed in OverridesParser.create().parse_overrides([new for old, new in zip(before, overrides) if old != new]):
        OmegaConf.update(found, changed.key_or_group, changed.value(), merge=True)
    return found


def install() -> None:
    """Let fairseq, in this process, compose by it."""
    utils.compose, utils.initialize = compose, lambda config_path: nullcontext()
