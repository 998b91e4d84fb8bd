"""What a checkpoint belongs to: dictionaries, languages, masks' settings. Loaded where it does not, it is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from one_layer_lt.errors import UserError
from one_layer_lt.record import OtherWeights, differences

from .masking import DECIDED_BY
from .old_names import flag

KEY = "_extra_state"  # torch's name in a state dict for what a module has to say
_WORDS = {
    "source": "the source dictionary",
    "target": "the target dictionary",
    "source_lang": "the source language",
    "target_lang": "the target language",
}


class DoesNotBelong(UserError):
    """A checkpoint of other data, masks or random weights than those of the model that it is loaded into."""


# Options that change what the same weights compute, and leave no trace in their names or shapes.
_ARITHMETIC = (
    *("activation_fn", "no_scale_embedding", "encoder_normalize_before", "decoder_normalize_before"),
    *("encoder_learned_pos", "decoder_learned_pos", "no_token_positional_embeddings", "layernorm_embedding"),
    *("encoder_attention_heads", "decoder_attention_heads", "train_bits"),
)


def belonging(task: Any, args: Any) -> Tensor:
    """A record of languages, of the order of the dictionaries' entries, and of options: uint8, JSON in UTF-8."""
    cfg = getattr(task, "cfg", None)
    record = {
        "source": _digest(task.source_dictionary),
        "target": _digest(task.target_dictionary),
        "source_lang": getattr(cfg, "source_lang", None),
        "target_lang": getattr(cfg, "target_lang", None),
    }
    record |= {name: getattr(args, name, None) for name in _ARITHMETIC}
    return torch.tensor(list(json.dumps(record, default=str).encode()), dtype=torch.uint8)


def check_belonging(own: Tensor, theirs: Tensor) -> None:
    """Raises ``DoesNotBelong`` where dictionaries, languages or options are not those of the checkpoint."""
    for name, (here, there) in differences(own, theirs).items():
        if name == "train_bits" and here is None:
            continue  # the rounded weights themselves, in a plain model
        if name in _ARITHMETIC:
            raise DoesNotBelong(
                f"{flag(name)}: the checkpoint was trained with {there!r:.40}, and this model has {here!r}"
            )
        values = "" if name in ("source", "target") else f" ({there!r:.40} there, {here!r} here)"
        what = _WORDS.get(name, name)
        raise DoesNotBelong(f"{what} is not the one that the checkpoint was trained with{values}: give its data folder")


def check_kind(own: Collection[str], theirs: Collection[str]) -> None:
    """Raises ``DoesNotBelong`` where one state dict, of these names, is of dense weights and the other of scores."""
    kinds = [
        any(name.endswith("trained_over") or ".parametrizations." in name for name in names) for names in (own, theirs)
    ]
    if kinds[0] != kinds[1]:
        here, there = ("masked" if kind else "dense" for kind in kinds)
        raise DoesNotBelong(f"--dense: the checkpoint's weights are {there}, and this model's are {here}")


def check_logit_scale(own: nn.LayerNorm, theirs: Tensor | None) -> None:
    """Raises ``DoesNotBelong`` where a fixed last norm, which is the logit scale, is not that of the checkpoint."""
    if theirs is None or own.weight.requires_grad or not bool((theirs == theirs[0]).all()):
        return
    if not torch.equal(own.weight.detach().cpu(), theirs.to("cpu", own.weight.dtype)):
        there = float(theirs[0])
        raise DoesNotBelong(f"--logit-scale {float(own.weight[0]):g}: the checkpoint was trained with {there:g}")


def by_flag(error: OtherWeights) -> str:
    """What ``OtherWeights`` says, in the words of the command line."""
    name = " or ".join(map(flag, DECIDED_BY.get(error.field, ()))) or error.field
    return f"{name}: the checkpoint's scores were trained with {error.theirs!s:.60}, and this model has {error.own}"


def _digest(dictionary: Any) -> str:
    return hashlib.sha256("\n".join(dictionary.symbols).encode()).hexdigest()
