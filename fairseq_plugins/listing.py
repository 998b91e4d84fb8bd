"""The options of ``one_layer_masked``, listed for people: fairseq's own ``--help`` shows none of a model's."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from fairseq.models import ARCH_CONFIG_REGISTRY

from one_layer_lt.markdown import table

from .one_layer_masked import OneLayerMaskedModel
from .options import MaskOptions

ARCH = "one_layer_masked"


@dataclass(frozen=True)
class Listed:
    """An option as people see it. default: that of the arch ``one_layer_masked``; empty where there is none."""

    flag: str
    default: str
    text: str


def listed() -> tuple[list[Listed], list[Listed]]:
    """The model's own options, and those that it has of fairseq's Transformer."""
    parser, defaults = ArgumentParser(add_help=False), Namespace()
    OneLayerMaskedModel.add_args(parser)
    ARCH_CONFIG_REGISTRY[ARCH](defaults)
    names = {option.name for option in fields(MaskOptions)}
    own: list[Listed] = []
    others: list[Listed] = []
    for action in parser._actions:
        if action.help == SUPPRESS:  # a name of before, still understood
            continue
        default = getattr(defaults, action.dest, None)
        text = " ".join((action.help or "").split())
        (own if action.dest in names else others).append(Listed(action.option_strings[0], _shown(default), text))
    return own, others


def markdown(options: Sequence[Listed]) -> Iterator[str]:
    """The lines of a table."""
    defaults = [f"`{option.default}`" if option.default else "" for option in options]
    texts = [option.text.replace("|", "\\|") for option in options]
    yield from table(("option", "default", "meaning"), *zip((f"`{o.flag}`" for o in options), defaults, texts))


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return "" if default is None else str(default)
