"""What a checkpoint belongs to: dictionaries, languages, masks' settings. Loaded where it does not, it is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from one_layer_lt.errors import UserError
from one_layer_lt.files import first_folder
from one_layer_lt.record import OtherWeights, differences

from .masking import DECIDED_BY
from .old_names import flag

TEXT = "text"  # in a record
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
    languages = getattr(cfg, "source_lang", None), getattr(cfg, "target_lang", None)
    record = _of_data((task.source_dictionary, task.target_dictionary), languages)
    folder = first_folder(str(getattr(cfg, "data", None) or ""))
    if any(folder.glob("train.*")):
        record[TEXT] = names_and_sizes(folder)
    return _tensor({**record, **{name: getattr(args, name, None) for name in _ARITHMETIC}})


def is_of_other_text(own: Tensor, theirs: Tensor) -> bool:
    """Whether two records are of folders whose texts for training and validation differ in names or sizes."""
    return TEXT in differences(own, theirs)


def names_and_sizes(folder: Path) -> str:
    """A digest (hex) of the names and sizes of the files of a data folder, but for those of the test split."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".bin", ".idx", ".txt") and path.is_file())
    kept = [(path.name, path.stat().st_size) for path in files if not path.name.startswith("test")]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()


def check_data(path: Path, state: Mapping[str, Any], dictionaries: Sequence[Any], languages: Sequence[str]) -> bool:
    """Whether a checkpoint says what data it is of. Raises ``DoesNotBelong`` where that is not these, source first."""
    record = state["model"].get(KEY)
    if record is None:
        return False
    try:
        check_belonging(_tensor(_of_data(dictionaries, languages)), record)
    except ValueError as error:
        raise DoesNotBelong(f"{path}: {error}") from None
    return True


def _of_data(dictionaries: Sequence[Any], languages: Sequence[str | None]) -> dict[str, Any]:
    names = ("source", "target")
    record: dict[str, Any] = {name: _digest(dictionary) for name, dictionary in zip(names, dictionaries)}
    return {**record, **{f"{name}_lang": language for name, language in zip(names, languages)}}


def _tensor(record: Mapping[str, Any]) -> Tensor:
    return torch.tensor(list(json.dumps(record, default=str).encode()), dtype=torch.uint8)


def check_belonging(own: Tensor, theirs: Tensor) -> None:
    """Raises ``DoesNotBelong`` where dictionaries, languages or options are not those of the checkpoint."""
    for name, (here, there) in differences(own, theirs).items():
        if name == TEXT:
            continue  # evaluated on other text, or trained further
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
