"""The settings of a masked module."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Optional, Union

from .rules import RULES, MaskRule
from .sharing import SHARES
from .weights import EXISTING, INITS

SCORE_INITS = ("standard", "constant", "constant_noisy")
RESCALES = ("none", "tensor", "row", "column")
Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class MaskConfig:
    """How weights are drawn, shared and masked. Raises ``ValueError`` for a value that cannot be.

    seed: of the random weights and of the scores' start.
    keep: fraction of each tensor's weights kept, in (0, 1]; default 0.5 with rules that have one, else None.
    rule: a mask rule, a key of ``RULES``.
    init: distribution of the random weights, a key of ``INITS``; or ``existing``, to mask the weights as they stand
        (pre-trained ones, say), which are then saved with the model.
    scale: factor on the random weights.
    scale_fan: count only kept weights as fan: the random weights grow by ``1 / sqrt(keep)``
        (Ramanujan et al. 2019, arXiv 1911.13299, section 4.1).
    share: which modules use one random weight, and whether one mask: a key of ``SHARES``.
    score_init: ``standard`` (uniform within ``1 / sqrt(fan_in)``), ``constant`` (all equal to that bound) or
        ``constant_noisy`` (within 1% of it).
    options: the rule's own options: the other fields of its class, by name; missing ones take its defaults.
    rescale: factor on the effective weights, by how many weights the mask keeps: all over kept ones of the
        ``tensor`` (dynamic weight rescaling: Zhou et al. 2019, arXiv 1905.01067, section 5.1), of each ``row`` (output)
        or of each ``column`` (input); or ``none``.
    drop, lock: fractions of each tensor's weights that a seeded pattern drops, or keeps, for good; only the others are
        searched and stored (Otsuka et al. 2024, arXiv 2402.14029). ``keep`` still counts all weights.
    tiles: (rows, columns): the mask of one of so many equal blocks serves all of them, as when heads share one.
    """

    seed: int = 1
    keep: Optional[float] = None
    rule: str = "edge_popup"
    init: str = "kaiming_uniform"
    scale: float = 1.0
    scale_fan: bool = False
    share: str = "layer"
    score_init: str = "standard"
    options: Union[Options, Mapping[str, Any]] = ()
    rescale: str = "none"
    drop: float = 0.0
    lock: float = 0.0
    tiles: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise ValueError(f"seed must be an integer, not {self.seed!r}")
        check_choice("rule", self.rule, RULES)
        if "keep" not in _fields(self.rule):
            if self.keep is not None:
                raise ValueError(f"keep: the rule {self.rule} has no keep ratio; leave it out")
            if self.scale_fan:
                raise ValueError(f"scale_fan: the rule {self.rule} has no keep ratio to scale by; leave it out")
        elif self.keep is None:
            object.__setattr__(self, "keep", 0.5)
        if self.keep is not None and not (_is_real(self.keep) and 0.0 < self.keep <= 1.0):
            raise ValueError(f"keep must be in (0, 1], not {self.keep!r}")
        object.__setattr__(self, "options", _checked_options(self.rule, self.options))
        if not (_is_real(self.scale) and math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be a positive number, not {self.scale!r}")
        if not isinstance(self.scale_fan, bool):
            raise ValueError(f"scale_fan must be True or False, not {self.scale_fan!r}")
        check_choice("init", self.init, [*INITS, EXISTING])
        check_choice("share", self.share, SHARES)
        check_choice("score_init", self.score_init, SCORE_INITS)
        check_choice("rescale", self.rescale, RESCALES)
        self._check_pattern()
        self.new_rule()

    def _check_pattern(self) -> None:
        for name, value in (("drop", self.drop), ("lock", self.lock)):
            if not (_is_real(value) and 0.0 <= value < 1.0):
                raise ValueError(f"{name} must be in [0, 1), not {value!r}")
        if self.drop + self.lock >= 1.0:
            raise ValueError(
                f"drop {self.drop} and lock {self.lock} leave no weight to search: make their sum less than 1"
            )
        if self.keep is not None and not self.lock <= self.keep <= 1.0 - self.drop:
            raise ValueError(
                f"keep {self.keep} must be at least lock {self.lock}, and at most what drop {self.drop} leaves: "
                f"from {self.lock:g} to {1 - self.drop:g}"
            )
        tiles = self.tiles
        if not (isinstance(tiles, tuple) and len(tiles) == 2 and all(type(t) is int and t >= 1 for t in tiles)):
            raise ValueError(f"tiles must be two positive integers, not {tiles!r}")
        if self.is_global and (self.drop or self.lock):
            raise ValueError(
                "options: scope global ranks all tensors together; use it without drop and lock, fractions of each"
            )

    @property
    def is_global(self) -> bool:
        """Whether the scores of all tensors are ranked together."""
        return self.new_rule().is_global

    @property
    def weight_scale(self) -> float:
        """The factor on the standard deviation of ``init``: ``scale``, the rule's, and the kept fan's if asked for."""
        scale = self.scale * RULES[self.rule].weight_scale
        return scale / math.sqrt(self.keep) if self.scale_fan and self.keep is not None else scale

    def new_rule(self, keep: float | None = None) -> MaskRule:
        """A rule of this configuration; ``keep``: another ratio. Raises ``ValueError`` for an option's value."""
        options = dict(self.options)
        if self.keep is not None:
            options["keep"] = self.keep if keep is None else keep
        try:
            return RULES[self.rule](**options)
        except ValueError as error:
            raise ValueError(f"rule {self.rule}: {error}") from None


def option_fields(rule: str) -> dict[str, Any]:
    """The options of a rule, but for ``keep``, with their defaults."""
    return {name: default for name, default in _fields(rule).items() if name != "keep"}


def _fields(rule: str) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(RULES[rule]) if field.init}


def _checked_options(rule: str, given: Options | Mapping[str, Any]) -> Options:
    """The options that differ from the rule's defaults, in the order of their names, each of its default's type."""
    known, checked = option_fields(rule), {}
    for name, value in dict(given).items():
        if name not in known:
            offer = f"its options: {', '.join(known)}" if known else "it has none"
            owners = [other for other in RULES if name in option_fields(other)]
            hint = f" ({name} is an option of {', '.join(owners)})" if owners else ""
            raise ValueError(f"the rule {rule} has no option {name!r}; {offer}{hint}")
        default = known[name]
        if isinstance(default, tuple):
            good = isinstance(value, (tuple, list)) and all(_is_real(part) for part in value)
            value = tuple(map(float, value)) if good else value
        elif isinstance(default, float) or default is None:
            good = _is_real(value) or (default is None and value is None)
            value = float(value) if _is_real(value) else value
        else:
            good = type(value) is type(default)
        if not good:
            kind = {tuple: "a list of numbers", int: "an integer", str: "a word"}.get(type(default), "a number")
            raise ValueError(f"rule {rule}: {name} must be {kind}, not {value!r}")
        if value != default:
            checked[name] = value
    return tuple(sorted(checked.items()))


def _is_real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_choice(field: str, value: str, choices: Collection[str]) -> None:
    """Raises ``ValueError`` unless ``value`` is one of the ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"unknown {field} {value!r}; choose one of: {', '.join(choices)}")


def parse_options(rule: str, text: str) -> dict[str, Any]:
    """``NAME=VALUE,...`` as options of a rule, a list of numbers being ``0.3/0.1``: what a command line gives.

    What the values must be is for ``MaskConfig`` to say. Raises ``ValueError`` for text of another form.
    """
    check_choice("rule", rule, RULES)
    found: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name or name in found:
            raise ValueError(f"options {text!r} must be NAME=VALUE,..., each name once")
        listed = isinstance(option_fields(rule).get(name), tuple)
        found[name] = [_value(item) for item in value.split("/")] if listed else _value(value)
    return found


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
