"""From the model's options to the ``MaskConfig`` of each of its modules."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from torch import nn

from one_layer_lt import INITS, RULES, MaskConfig
from one_layer_lt.config import RESCALES, SCORE_INITS, parse_options
from one_layer_lt.convert import Configure
from one_layer_lt.errors import flagged
from one_layer_lt.rounding import BITS
from one_layer_lt.sharing import MASK_TOO
from one_layer_lt.weights import EXISTING

from .old_names import flag as flag_of
from .options import ATTENTION_INITS, EMBEDDINGS, KINDS, LAYER_NORMS, SHARE_MASKS, SHARE_WEIGHTS

# Field of ``MaskConfig`` -> the option that it comes from.
_OPTIONS = {
    "seed": "ticket_seed",
    "keep": "keep",
    "rule": "mask_rule",
    "init": "random_init",
    "scale_fan": "scale_fan",
    "score_init": "score_init",
    "rescale": "mask_rescale",
    "drop": "frozen_dropped",
    "lock": "frozen_locked",
}


# Field -> all options that decide it.
DECIDED_BY: dict[str, tuple[str, ...]] = {
    **{field: (name,) for field, name in _OPTIONS.items()},
    "keep": ("keep", "keep_per_kind"),
    "rule": ("mask_rule", "rule_per_kind"),
    "init": ("random_init", "attention_init"),
    "options": ("mask_options",),
    "share": ("share_weights", "share_masks"),
    "random_weight": ("share_weights",),
    "tiles": ("share_masks",),
    "scale": ("weight_scale_per_kind", "query_key_scale"),
}


def in_flags(error: ValueError, per_kind: bool = False) -> str:
    """What the library says of a field of ``MaskConfig``, said of the option that it came from.

    per_kind: it may as well have come from the other options that decide the field.
    """
    names = {field: names if per_kind else names[:1] for field, names in DECIDED_BY.items()}
    return flagged(error, {field: " or ".join(map(flag_of, each)) for field, each in names.items()})


def mask_config(args: Namespace) -> MaskConfig:
    """The setting for all but attention and embeddings. Raises ``ValueError`` that names flag and value."""
    choices_of: dict[str, tuple[str, Collection[str]]] = {
        "--mask-rule": (args.mask_rule, RULES),
        "--random-init": (args.random_init, INITS),
        "--attention-init": (args.attention_init, ATTENTION_INITS),
        "--score-init": (args.score_init, SCORE_INITS),
        "--share-weights": (args.share_weights, SHARE_WEIGHTS),
        "--share-masks": (args.share_masks, SHARE_MASKS),
        "--mask-rescale": (args.mask_rescale, RESCALES),
        "--layer-norm": (args.layer_norm, LAYER_NORMS),
        "--embeddings": (args.embeddings, EMBEDDINGS),
    }
    for flag, (value, choices) in choices_of.items():
        if value not in choices:
            raise ValueError(f"{flag} {value}: unknown; choose one of: {', '.join(choices)}")
    if args.prunable and not args.dense:
        raise ValueError("--prunable: needs --dense, for it is trained weights that are pruned")
    if args.train_bits is not None:
        if args.train_bits not in BITS:
            raise ValueError(f"--train-bits {args.train_bits}: must be from {BITS[0]} to {BITS[-1]}")
        if not args.dense:
            raise ValueError("--train-bits: needs --dense, for it is trained weights that are rounded")
        if args.prunable:
            raise ValueError("--train-bits: not with --prunable: weights are rounded or pruned")
    if args.twin and not args.dense:
        raise ValueError("--twin: needs --dense, for it is a dense model that masks imitate later, by --scores-from")
    if args.scores_from and args.dense:
        raise ValueError("--scores-from: goes with masks, not with --dense")
    if args.scores_from and args.score_init != "standard":
        raise ValueError(f"--score-init {args.score_init}: without effect with --scores-from, where scores start")
    if args.twin and args.layer_norm == "affine":
        raise ValueError("--layer-norm affine: not with --twin, whose layer norms are plain")
    if getattr(args, "store_ema", False):
        raise ValueError("--store-ema: fairseq cannot average all that this model keeps; use `one-layer-lt average`")
    if getattr(args, "quant_noise_scalar", 0):
        raise ValueError("--quant-noise-scalar: fairseq puts layers of its own in place of the model's; leave it out")
    query_key_scale(args, "encoder")
    if not (math.isfinite(args.logit_scale) and args.logit_scale > 0):
        raise ValueError(f"--logit-scale {args.logit_scale:g}: must be a positive number")
    if args.logit_scale != 1 and getattr(args, "no_decoder_final_norm", False):
        raise ValueError("--logit-scale: goes by the decoder's last layer norm, not with --no-decoder-final-norm")
    masks_of_layers = args.share_masks in ("layers", "both")
    if masks_of_layers and args.share_weights != "layer":
        raise ValueError(f"--share-masks {args.share_masks}: goes with --share-weights layer, not {args.share_weights}")
    settings = {field: getattr(args, name) for field, name in _OPTIONS.items()}
    settings |= {"options": _rule_options(args), "share": MASK_TOO if masks_of_layers else args.share_weights}
    try:
        config = MaskConfig(**settings)
    except ValueError as error:
        raise ValueError(in_flags(error)) from None
    for kind in KINDS:
        of_kind(args, config, kind)
    return config


def check_kinds(args: Namespace, tied_output: bool) -> None:
    """Raises ``ValueError``, which names the flag, where one asks of a kind of tensors what would be without effect."""
    unmasked = {"pretrained": "fixed", "trained": "trained"}.get(args.embeddings)
    for flag, text in _per_kind(args):
        named = by_kind(flag, text)
        if tied_output and "output_projection" in named:
            raise ValueError(f"{flag} {text}: the output projection is tied to the embedding: name embed_tokens")
        for kind in ("embed_tokens", "output_projection"):
            if kind in named and unmasked and not (kind == "output_projection" and unmasked == "fixed"):
                raise ValueError(
                    f"{flag} {text}: --embeddings {args.embeddings} are {unmasked}, not masked: leave {kind} out"
                )
        if (
            flag == flag_of("weight_scale_per_kind")
            and "embed_tokens" in named
            and args.embeddings == "pretrained-masked"
        ):
            raise ValueError(
                f"{flag} {text}: pre-trained embeddings are as they are, not drawn: leave embed_tokens out"
            )


def of_kind(args: Namespace, config: MaskConfig, kind: str) -> MaskConfig:
    """``config`` with what the options per kind change of it for tensors of a kind.

    Raises ``ValueError``, which names the flag, for a value that cannot be.
    """
    for (flag, text), change in zip(_per_kind(args), (_with_rule, _with_keep, _with_scale)):
        value = by_kind(flag, text).get(kind)
        if value is None:
            continue
        try:
            config = change(config, value)
        except ValueError as error:
            raise ValueError(f"{flag} {kind}={value}: {error}") from None
    return config


def _per_kind(args: Namespace) -> list[tuple[str, str]]:
    names = ("rule_per_kind", "keep_per_kind", "weight_scale_per_kind")
    return [(flag_of(name), getattr(args, name)) for name in names]


def _with_rule(config: MaskConfig, rule: str) -> MaskConfig:
    return config if rule == config.rule else replace(config, rule=rule, options=(), keep=None)


def _with_keep(config: MaskConfig, keep: str) -> MaskConfig:
    return replace(config, keep=_number(keep))


def _with_scale(config: MaskConfig, scale: str) -> MaskConfig:
    return replace(config, scale=config.scale * _number(scale))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def by_kind(flag: str, text: str) -> dict[str, str]:
    """``NAME=VALUE,...`` as values by kind of tensor. Raises ``ValueError``, which names ``flag``, for other text."""
    found: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        kind, _, value = part.partition("=")
        if kind not in KINDS or kind in found:
            raise ValueError(f"{flag} {text}: must be NAME=VALUE,..., each name once, of: {', '.join(KINDS)}")
        found[kind] = value
    return found


def query_key_scale(args: Namespace, stack: str) -> float:
    """The factor on query and key weights of ``encoder`` or ``decoder``. Raises ``ValueError`` for a bad option.

    ``auto``: n^(1/4) of the width n of a head (Otsuka et al. 2025, arXiv 2511.04217).
    """
    if args.query_key_scale == "auto":
        width = getattr(args, f"{stack}_embed_dim") // getattr(args, f"{stack}_attention_heads")
        return float(width**0.25)
    try:
        scale = float(args.query_key_scale)
    except ValueError:
        scale = math.nan
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"--query-key-scale {args.query_key_scale}: must be a positive number, or auto")
    return scale


def _rule_options(args: Namespace) -> dict[str, Any]:
    try:
        return parse_options(args.mask_rule, args.mask_options)
    except ValueError as error:
        raise ValueError(in_flags(error)) from None


def configure(args: Namespace, config: MaskConfig, tied_output: bool) -> Configure:
    """``(module name, module) -> MaskConfig``, or None where it stays dense.

    ``tied_output``: the output projection is the decoder's embedding, and follows it.
    """
    attention = config
    if args.attention_init != "same":
        init = "xavier_uniform" if args.attention_init == "paper" else args.attention_init
        attention = replace(config, init=init, scale_fan=False)

    def choose(name: str, module: nn.Module) -> MaskConfig | None:
        chosen, kind = standard(name), name.rpartition(".")[2]
        if kind == "output_projection" and tied_output:
            kind = "embed_tokens"
        return None if chosen is None else of_kind(args, chosen, kind)

    def standard(name: str) -> MaskConfig | None:
        path = name.split(".")
        if path[-1] == "embed_tokens" or (path[-1] == "output_projection" and tied_output):
            if args.embeddings in ("pretrained", "trained"):
                return None
            return replace(config, init=EXISTING) if args.embeddings == "pretrained-masked" else config
        if path[-1] == "output_projection" and args.embeddings == "trained":
            return None
        if path[-2:-1] in (["self_attn"], ["encoder_attn"]):
            stack = path[0] if path[0] in ("encoder", "decoder") else "encoder"
            scale = query_key_scale(args, stack) if path[-1] in ("q_proj", "k_proj") else 1.0
            if args.attention_init != "same" and path[-1] != "out_proj":
                scale /= math.sqrt(2.0)
            heads = getattr(args, f"{stack}_attention_heads") if args.share_masks in ("heads", "both") else 1
            return replace(attention, scale=scale, tiles=(1, heads) if path[-1] == "out_proj" else (heads, 1))
        return config

    return choose
