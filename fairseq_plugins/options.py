"""The model's own options, and the ``MaskConfig`` of each module that follows from them."""

import math
from argparse import Namespace
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass
from torch import nn

from one_layer_lt import INITS, RULES, MaskConfig
from one_layer_lt.config import RESCALES, SCORE_INITS, parse_options
from one_layer_lt.convert import Configure
from one_layer_lt.precision import has_fast_bf16
from one_layer_lt.rounding import BITS
from one_layer_lt.sharing import SHARES
from one_layer_lt.weights import EXISTING

# No postponed annotations in this file: fairseq reads the types of the fields.

ATTENTION_INITS = ("paper", "same", *INITS)
LAYER_NORMS = ("plain", "affine")
EMBEDDINGS = ("masked", "pretrained", "pretrained-masked", "trained")
KINDS = ("embed_tokens", "q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2", "output_projection")


def _option(default: Any, text: str, choices: Collection[str] = ()) -> Any:
    return field(default=default, metadata={"help": f"{text}: {', '.join(choices)}" if choices else text})


@dataclass
class MaskOptions(FairseqDataclass):
    """Options of the model ``one_layer_masked``, beside those of fairseq's Transformer."""

    keep: Optional[float] = _option(
        None, "fraction of the weights of each tensor that are kept, in (0, 1]; 0.5 with rules that have one"
    )
    keep_of: str = _option("", "another keep for some kinds of tensors: NAME=RATIO,...; names", KINDS)
    mask_rule: str = _option("edge_popup", "how scores become a mask", RULES)
    rule_of: str = _option(
        "", "another rule for some kinds of tensors, with its default options: NAME=RULE,...; names", KINDS
    )
    mask_options: str = _option("", "the rule's own options: NAME=VALUE,...; a list of numbers as 0.3/0.1")
    mask_rescale: str = _option("none", "scale effective weights by all over kept weights of each", RESCALES)
    frozen_dropped: float = _option(0.0, "fraction of each tensor's weights that is dropped for good, by seed")
    frozen_locked: float = _option(0.0, "fraction of each tensor's weights that is kept for good, by seed")
    share_heads: bool = _option(False, "all heads of an attention module have one mask")
    random_init: str = _option("kaiming_uniform", "distribution of the random weights", INITS)
    attention_init: str = _option(
        "paper",
        "attention's random weights: by --random-init (same), or of a distribution, xavier_uniform with paper, with "
        "gain 1/sqrt(2) for q, k, v and 1 for out",
        ATTENTION_INITS,
    )
    scale_of: str = _option("", "factors on the random weights of some kinds of tensors: NAME=FACTOR,...; names", KINDS)
    query_key_scale: str = _option(
        "1",
        "factor on the random weights of the query and key projections; auto: the fourth root of a head's width",
    )
    score_init: str = _option("standard", "what the scores start from", SCORE_INITS)
    share: str = _option("layer", "which modules use one random weight (layer_mask: and one mask)", SHARES)
    mask_seed: int = _option(1, "seed of the random weights and of the scores' start")
    scale_fan: bool = _option(False, "count only kept weights as fan: random weights grow by 1/sqrt(keep)")
    layer_norm: str = _option("plain", "layer norms: without affine parameters, or with trained ones", LAYER_NORMS)
    logit_scale: float = _option(1.0, "factor on the logits: the constant, or start, of the last layer norm's weight")
    embeddings: str = _option(
        "masked",
        "token embeddings: random under a mask, pre-trained and fixed, pre-trained under a mask, or trained (with the "
        "output projection)",
        EMBEDDINGS,
    )
    dense: bool = _option(False, "the baseline: train the weights of the same Transformer, without masks")
    twin: bool = _option(
        False, "with --dense: plain layer norms and no biases, as in a ticket, for masks to start from (--scores-from)"
    )
    scores_from: Optional[str] = _option(
        None,
        "checkpoint of a dense model of the same sizes, best a --twin: masks start as like its weights as they can; "
        "without --scale-of, random weights get the scale that suits",
    )
    prunable: bool = _option(False, "with --dense: weights under masks of ones, for scripts/prune.py to prune")
    train_bits: Optional[int] = _option(
        None, "with --dense: weights are rounded to so many bits (2 to 8) as they are used, for scripts/quantize.py"
    )
    cpu_bf16: bool = _option(False, "on CPU that has bfloat16 instructions, train and validate in bfloat16 autocast")


def cpu_flags() -> list[str]:
    """fairseq-train's flags for the fastest training on this processor."""
    return ["--cpu", "--cpu-bf16"] if has_fast_bf16() else ["--cpu"]


def set_defaults(args: Namespace) -> None:
    """Give ``args`` every option of ``MaskOptions`` that it lacks, and tie the decoder's embeddings, as the paper."""
    defaults = {option.name: option.default for option in fields(MaskOptions) if not option.name.startswith("_")}
    for name, default in {**defaults, "share_decoder_input_output_embed": True}.items():
        setattr(args, name, getattr(args, name, default))


def mask_config(args: Namespace) -> MaskConfig:
    """The setting for all but attention and embeddings. Raises ``ValueError`` that names flag and value."""
    choices_of: dict[str, tuple[str, Collection[str]]] = {
        "--mask-rule": (args.mask_rule, RULES),
        "--random-init": (args.random_init, INITS),
        "--attention-init": (args.attention_init, ATTENTION_INITS),
        "--score-init": (args.score_init, SCORE_INITS),
        "--share": (args.share, SHARES),
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
    query_key_scale(args, "encoder")
    if not (math.isfinite(args.logit_scale) and args.logit_scale > 0):
        raise ValueError(f"--logit-scale {args.logit_scale:g}: must be a positive number")
    if args.logit_scale != 1 and getattr(args, "no_decoder_final_norm", False):
        raise ValueError("--logit-scale: goes by the decoder's last layer norm, not with --no-decoder-final-norm")
    config = MaskConfig(
        seed=args.mask_seed,
        keep=args.keep,
        rule=args.mask_rule,
        options=_rule_options(args),
        init=args.random_init,
        scale_fan=args.scale_fan,
        share=args.share,
        score_init=args.score_init,
        rescale=args.mask_rescale,
        drop=args.frozen_dropped,
        lock=args.frozen_locked,
    )
    for kind in KINDS:
        of_kind(args, config, kind)
    return config


def check_kinds(args: Namespace, tied_output: bool) -> None:
    """Raises ``ValueError``, which names the flag, where one asks of a kind of tensors what would be without effect."""
    unmasked = {"pretrained": "fixed", "trained": "trained"}.get(args.embeddings)
    for flag, text in (("--rule-of", args.rule_of), ("--keep-of", args.keep_of), ("--scale-of", args.scale_of)):
        named = by_kind(flag, text)
        if tied_output and "output_projection" in named:
            raise ValueError(f"{flag} {text}: the output projection is tied to the embedding: name embed_tokens")
        for kind in ("embed_tokens", "output_projection"):
            if kind in named and unmasked and not (kind == "output_projection" and unmasked == "fixed"):
                raise ValueError(
                    f"{flag} {text}: --embeddings {args.embeddings} are {unmasked}, not masked: leave {kind} out"
                )
        if flag == "--scale-of" and "embed_tokens" in named and args.embeddings == "pretrained-masked":
            raise ValueError(
                f"{flag} {text}: pre-trained embeddings are as they are, not drawn: leave embed_tokens out"
            )


def of_kind(args: Namespace, config: MaskConfig, kind: str) -> MaskConfig:
    """``config`` with what ``--rule-of``, ``--keep-of`` and ``--scale-of`` change of it for tensors of a kind.

    Raises ``ValueError``, which names the flag, for a value that cannot be.
    """
    for flag, text, change in (
        ("--rule-of", args.rule_of, _with_rule),
        ("--keep-of", args.keep_of, _with_keep),
        ("--scale-of", args.scale_of, _with_scale),
    ):
        value = by_kind(flag, text).get(kind)
        if value is None:
            continue
        try:
            config = change(config, value)
        except ValueError as error:
            raise ValueError(f"{flag} {kind}={value}: {error}") from None
    return config


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
        raise ValueError(f"--mask-options {error}") from None


def configure(args: Namespace, config: MaskConfig, tied_output: bool) -> Configure:
    """``(module name, module) -> MaskConfig``, or None where it stays dense.

    ``tied_output``: the output projection is the decoder's embedding, and follows it.
    """
    attention = config
    if args.attention_init != "same":
        init = "xavier_uniform" if args.attention_init == "paper" else args.attention_init
        attention = replace(config, init=init, scale_fan=False)

    def choose(name: str, module: nn.Module) -> "MaskConfig | None":
        chosen, kind = standard(name), name.rpartition(".")[2]
        if kind == "output_projection" and tied_output:
            kind = "embed_tokens"
        return None if chosen is None else of_kind(args, chosen, kind)

    def standard(name: str) -> "MaskConfig | None":
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
            heads = getattr(args, f"{stack}_attention_heads") if args.share_heads else 1
            return replace(attention, scale=scale, tiles=(1, heads) if path[-1] == "out_proj" else (heads, 1))
        return config

    return choose
