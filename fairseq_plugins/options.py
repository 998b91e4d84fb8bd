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
        None,
        "fraction of each tensor's weights that the mask keeps, in (0, 1]; default: 0.5 if the rule has such a ratio",
    )
    keep_per_kind: str = _option(
        "", "another --keep for some kinds of tensors, such as fc1=0.4,embed_tokens=0.6; kinds", KINDS
    )
    mask_rule: str = _option("edge_popup", "how scores become a mask", RULES)
    rule_per_kind: str = _option(
        "",
        "another rule, with its default options, for some kinds of tensors, such as embed_tokens=signed; kinds",
        KINDS,
    )
    mask_options: str = _option("", "options of the rule: NAME=VALUE,...; a list of numbers is written 0.3/0.1")
    mask_rescale: str = _option(
        "none", "multiply the effective weights of each tensor, row or column by all over kept weights of it", RESCALES
    )
    frozen_dropped: float = _option(
        0.0, "fraction of each tensor's weights, chosen by the seed, that the mask never keeps"
    )
    frozen_locked: float = _option(
        0.0, "fraction of each tensor's weights, chosen by the seed, that the mask always keeps"
    )
    random_init: str = _option("kaiming_uniform", "distribution of the random weights", INITS)
    attention_init: str = _option(
        "paper",
        "distribution of attention's random weights; paper: xavier_uniform with gain 1/sqrt(2) for q, k, v and 1 for "
        "out; same: by --random-init; choices",
        ATTENTION_INITS,
    )
    weight_scale_per_kind: str = _option(
        "", "factors by which the random weights of some kinds of tensors are multiplied, such as fc2=2; kinds", KINDS
    )
    query_key_scale: str = _option(
        "1",
        "factor by which the random query and key weights are multiplied; auto: the fourth root of a head's width",
    )
    score_init: str = _option("standard", "values that the scores start from", SCORE_INITS)
    share_weights: str = _option(
        "layer",
        "which modules use the same random weight; layer: the same projection in all layers of a stack; stack: in both "
        "stacks; vector: all modules; choices",
        SHARE_WEIGHTS,
    )
    share_masks: str = _option(
        "none",
        "what uses the same mask: all heads of an attention module, the same projection in all layers",
        SHARE_MASKS,
    )
    ticket_seed: int = _option(1, "seed of the random weights and of the first scores")
    scale_fan: bool = _option(
        False, "multiply the random weights by 1/sqrt(keep), so that only kept weights count as fan"
    )
    layer_norm: str = _option(
        "plain", "layer norms without affine parameters (plain), or with trained ones", LAYER_NORMS
    )
    logit_scale: float = _option(
        1.0, "factor on the logits; it is the weight of the last layer norm, or its first value where that is trained"
    )
    embeddings: str = _option(
        "masked",
        "token embeddings; masked: random under a mask; pretrained: given and fixed; pretrained-masked: given, under a "
        "mask; trained: trained, with the output projection. They are given by --encoder-embed-path and "
        "--decoder-embed-path; choices",
        EMBEDDINGS,
    )
    dense: bool = _option(False, "train the weights of the same Transformer, without masks: the baseline")
    twin: bool = _option(
        False, "with --dense: plain layer norms and no biases, so that masks can start from this model (--scores-from)"
    )
    scores_from: Optional[str] = _option(
        None,
        "checkpoint of a dense model of the same sizes, best a --twin: the first masks imitate its weights; unless "
        "--weight-scale-per-kind is given, the random weights are scaled to suit",
    )
    prunable: bool = _option(False, "with --dense: train weights that `one-layer-lt prune` can prune (set by it)")
    train_bits: Optional[int] = _option(
        None, "with --dense: round weights to this many bits (2 to 8) as they are used; see scripts/quantize.py"
    )
    cpu_bf16: bool = _option(False, "train and validate in bfloat16 autocast, on a CPU that has instructions for it")


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
