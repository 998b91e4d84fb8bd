"""The model's own options, and the ``MaskConfig`` of each module that follows from them."""

import math
from argparse import Namespace
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any

from fairseq.dataclass import FairseqDataclass
from torch import nn

from one_layer_lt import INITS, RULES, MaskConfig
from one_layer_lt.config import SCORE_INITS
from one_layer_lt.convert import Configure
from one_layer_lt.sharing import SHARES
from one_layer_lt.weights import EXISTING

# No postponed annotations in this file: fairseq reads the types of the fields.

ATTENTION_INITS = ("paper", "same")
LAYER_NORMS = ("plain", "affine")
EMBEDDINGS = ("masked", "pretrained", "pretrained-masked", "trained")


def _option(default: Any, text: str, choices: Collection[str] = ()) -> Any:
    return field(default=default, metadata={"help": f"{text}: {', '.join(choices)}" if choices else text})


@dataclass
class MaskOptions(FairseqDataclass):
    """Options of the model ``one_layer_masked``, beside those of fairseq's Transformer."""

    keep: float = _option(0.5, "fraction of the weights of each tensor that are kept, in (0, 1]")
    mask_rule: str = _option("edge_popup", "how scores become a mask", RULES)
    random_init: str = _option("kaiming_uniform", "distribution of the random weights", INITS)
    attention_init: str = _option(
        "paper",
        "attention's random weights: xavier_uniform with gain 1/sqrt(2) for q, k, v and 1 for out (paper), or by "
        "--random-init (same)",
        ATTENTION_INITS,
    )
    query_key_scale: float = _option(1.0, "factor on the random weights of the query and key projections")
    score_init: str = _option("standard", "what the scores start from", SCORE_INITS)
    share: str = _option("layer", "which modules use one random weight", SHARES)
    mask_seed: int = _option(1, "seed of the random weights and of the scores' start")
    scale_fan: bool = _option(False, "count only kept weights as fan: random weights grow by 1/sqrt(keep)")
    layer_norm: str = _option("plain", "layer norms: without affine parameters, or with trained ones", LAYER_NORMS)
    embeddings: str = _option(
        "masked",
        "token embeddings: random under a mask, pre-trained and fixed, pre-trained under a mask, or trained (with the "
        "output projection)",
        EMBEDDINGS,
    )
    dense: bool = _option(False, "the baseline: train the weights of the same Transformer, without masks")
    cpu_bf16: bool = _option(False, "on CPU, run the training and validation forward pass in bfloat16 autocast")


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
        "--layer-norm": (args.layer_norm, LAYER_NORMS),
        "--embeddings": (args.embeddings, EMBEDDINGS),
    }
    for flag, (value, choices) in choices_of.items():
        if value not in choices:
            raise ValueError(f"{flag} {value}: unknown; choose one of: {', '.join(choices)}")
    if not (math.isfinite(args.query_key_scale) and args.query_key_scale > 0):
        raise ValueError(f"--query-key-scale {args.query_key_scale}: must be a positive number")
    return MaskConfig(
        seed=args.mask_seed,
        keep=args.keep,
        rule=args.mask_rule,
        init=args.random_init,
        scale_fan=args.scale_fan,
        share=args.share,
        score_init=args.score_init,
    )


def configure(args: Namespace, config: MaskConfig, tied_output: bool) -> Configure:
    """``(module name, module) -> MaskConfig``, or None where it stays dense.

    ``tied_output``: the output projection is the decoder's embedding, and follows it.
    """
    attention = config
    if args.attention_init == "paper":
        attention = replace(config, init="xavier_uniform", scale_fan=False)

    def choose(name: str, module: nn.Module) -> "MaskConfig | None":
        path = name.split(".")
        if path[-1] == "embed_tokens" or (path[-1] == "output_projection" and tied_output):
            if args.embeddings in ("pretrained", "trained"):
                return None
            return replace(config, init=EXISTING) if args.embeddings == "pretrained-masked" else config
        if path[-1] == "output_projection" and args.embeddings == "trained":
            return None
        if path[-2:-1] in (["self_attn"], ["encoder_attn"]):
            scale = args.query_key_scale if path[-1] in ("q_proj", "k_proj") else 1.0
            if args.attention_init == "paper" and path[-1] != "out_proj":
                scale /= math.sqrt(2.0)
            return replace(attention, scale=scale)
        return config

    return choose
