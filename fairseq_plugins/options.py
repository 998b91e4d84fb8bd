"""The model's own options, and the ``MaskConfig`` of each module that follows from them."""

from argparse import Namespace
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass

from one_layer_lt import INITS, RULES
from one_layer_lt.config import RESCALES, SCORE_INITS
from one_layer_lt.precision import has_fast_bf16
from one_layer_lt.sharing import MASK_TOO, SHARES

from .old_names import rename_

# No postponed annotations in this file: fairseq reads the types of the fields.

ATTENTION_INITS = ("paper", "same", *INITS)
SHARE_WEIGHTS = tuple(share for share in SHARES if share != MASK_TOO)
SHARE_MASKS = ("none", "heads", "layers", "both")
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
    keep_per_kind: str = _option(
        "", "another keep for some kinds of tensors, such as fc1=0.4,embed_tokens=0.6; kinds", KINDS
    )
    mask_rule: str = _option("edge_popup", "how scores become a mask", RULES)
    rule_per_kind: str = _option(
        "",
        "another rule for some kinds of tensors, with its default options, such as embed_tokens=signed; kinds",
        KINDS,
    )
    mask_options: str = _option("", "the rule's own options: NAME=VALUE,...; a list of numbers as 0.3/0.1")
    mask_rescale: str = _option("none", "scale effective weights by all over kept weights of each", RESCALES)
    frozen_dropped: float = _option(0.0, "fraction of each tensor's weights that is dropped for good, by seed")
    frozen_locked: float = _option(0.0, "fraction of each tensor's weights that is kept for good, by seed")
    random_init: str = _option("kaiming_uniform", "distribution of the random weights", INITS)
    attention_init: str = _option(
        "paper",
        "attention's random weights: by --random-init (same), or of a distribution, xavier_uniform with paper, with "
        "gain 1/sqrt(2) for q, k, v and 1 for out",
        ATTENTION_INITS,
    )
    weight_scale_per_kind: str = _option(
        "", "factors on the random weights of some kinds of tensors, such as fc2=2,out_proj=2; kinds", KINDS
    )
    query_key_scale: str = _option(
        "1",
        "factor on the random weights of the query and key projections; auto: the fourth root of a head's width",
    )
    score_init: str = _option("standard", "what the scores start from", SCORE_INITS)
    share_weights: str = _option(
        "layer",
        "which modules use one random weight: a projection in all layers (layer), in both stacks too (stack), all "
        "modules (vector), or none; choices",
        SHARE_WEIGHTS,
    )
    share_masks: str = _option(
        "none", "what has one mask: all heads of an attention module, a projection in all layers, or both", SHARE_MASKS
    )
    ticket_seed: int = _option(1, "seed of the random weights and of the scores' start")
    scale_fan: bool = _option(False, "count only kept weights as fan: random weights grow by 1/sqrt(keep)")
    layer_norm: str = _option("plain", "layer norms: without affine parameters, or with trained ones", LAYER_NORMS)
    logit_scale: float = _option(1.0, "factor on the logits: the constant, or start, of the last layer norm's weight")
    embeddings: str = _option(
        "masked",
        "token embeddings: random under a mask, pre-trained and fixed, pre-trained under a mask (both from "
        "--encoder-embed-path and --decoder-embed-path), or trained (with the output projection)",
        EMBEDDINGS,
    )
    dense: bool = _option(False, "the baseline: train the weights of the same Transformer, without masks")
    twin: bool = _option(
        False, "with --dense: plain layer norms and no biases, as in a ticket, for masks to start from (--scores-from)"
    )
    scores_from: Optional[str] = _option(
        None,
        "checkpoint of a dense model of the same sizes, best a --twin: masks start as like its weights as they can; "
        "without --weight-scale-per-kind, random weights get the scale that suits",
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
    """Give ``args`` every option of ``MaskOptions`` that it lacks, and tie the decoder's embeddings, as the paper.

    Raises ``ValueError`` where an option came under its old and its new name.
    """
    rename_(args)
    defaults = {option.name: option.default for option in fields(MaskOptions) if not option.name.startswith("_")}
    for name, default in {**defaults, "share_decoder_input_output_embed": True}.items():
        setattr(args, name, getattr(args, name, default))
