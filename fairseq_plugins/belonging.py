"""What a checkpoint belongs to: dictionaries, languages, masks' settings. Loaded where it does not, it is refused."""

from __future__ import annotations

import hashlib
import json
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


def belonging(task: Any) -> Tensor:
    """A record of a task's languages and of the order of its dictionaries' entries: uint8, JSON in UTF-8."""
    cfg = getattr(task, "cfg", None)
    record = {
        "source": _digest(task.source_dictionary),
        "target": _digest(task.target_dictionary),
        "source_lang": getattr(cfg, "source_lang", None),
        "target_lang": getattr(cfg, "target_lang", None),
    }
    return torch.tensor(list(json.dumps(record).encode()), dtype=torch.uint8)


def check_belonging(own: Tensor, theirs: Tensor) -> None:
    """Raises ``DoesNotBelong`` where dictionaries or languages are not those of the checkpoint."""
    for name, (here, there) in differences(own, theirs).items():
        values = "" if name in ("source", "target") else f" ({there!r} there, {here!r} here)"
        what = _WORDS.get(name, name)
        raise DoesNotBelong(f"{what} is not the one that the checkpoint was trained with{values}: give its data folder")


def check_logit_scale(own: nn.LayerNorm, theirs: Tensor | None) -> None:
    """Raises ``DoesNotBelong`` where a fixed last norm, which is the logit scale, is not that of the checkpoint."""
    if theirs is None or own.weight.requires_grad:
        return
    if not torch.equal(own.weight.detach().cpu(), theirs.to("cpu", own.weight.dtype)):
        there = float(theirs[0])
        raise DoesNotBelong(f"--logit-scale {float(own.weight[0]):g}: the checkpoint was trained with {there:g}")


def by_flag(error: OtherWeights) -> str:
    """What ``OtherWeights`` says, in the words of the command line."""
    name = " or ".join(map(flag, DECIDED_BY.get(error.field, ()))) or error.field
    return f"{name}: the checkpoint's scores were trained with {error.theirs}, and this model has {error.own}"


def _digest(dictionary: Any) -> str:
    return hashlib.sha256("\n".join(dictionary.symbols).encode()).hexdigest()
