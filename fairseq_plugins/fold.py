"""Tickets folded for others to run: a plain fairseq checkpoint, or a CTranslate2 folder."""

from __future__ import annotations

import shlex
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from one_layer_lt.files import whole
from one_layer_lt.optional import need
from one_layer_lt.text.manifest import MODELS
from one_layer_lt.ticket import Ticket, TicketError

from .architecture import checked

QUANTIZATIONS = ("int8", "int8_float32", "int8_bfloat16", "int16", "float16", "bfloat16", "float32")

# What fairseq's translation task would otherwise take from options of the training.
_TASK = {
    "_name": "translation",
    "data": "",
    "source_lang": None,
    "target_lang": None,
    "left_pad_source": True,
    "left_pad_target": False,
    "max_source_positions": 1024,
    "max_target_positions": 1024,
    "train_subset": "train",
    "dataset_impl": None,
    "required_seq_len_multiple": 1,
}


def to_folder(ticket: Ticket, folder: Path, to: str, quantization: str | None = None) -> None:
    """Write the model for ``fairseq`` or ``ctranslate2``, its dictionaries and its subword model into a new folder."""
    if to not in ("fairseq", "ctranslate2"):
        raise ValueError(f"cannot fold to {to!r}; choose one of: fairseq, ctranslate2")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(17, "already there: remove it, or name another folder", str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole(folder) as part:
        part.mkdir()
        if to == "fairseq":
            to_fairseq(ticket, part / "model.pt")
            write_dictionaries(ticket, part)
        else:
            to_ctranslate2(ticket, part, quantization)
        text = ticket.architecture["text"]
        if text and "subwords" in ticket.assets:
            (part / MODELS[text["tokenizer"]]).write_bytes(ticket.assets["subwords"])


def how_to_translate(ticket: Ticket, folder: Path) -> str:
    """A line that says what text stock fairseq translates with what ``to_folder`` wrote for it, and by what command.

    fairseq itself does the subwords; lower case and Moses' tokens are left to whoever calls it.
    """
    settings, text = ticket.architecture, ticket.architecture["text"]
    command = ["fairseq-interactive", str(folder), "--path", str(folder / "model.pt")]
    command += ["--source-lang", settings["source"], "--target-lang", settings["target"]]
    if not (text and "subwords" in ticket.assets):
        return f"to translate lines of subwords: {shlex.join(command)}"
    kind, subwords = text["tokenizer"], str(folder / MODELS[text["tokenizer"]])
    what = "text that Moses' tokenizer has split" if kind == "moses-bpe" else "text"
    name, flag = {
        "sentencepiece": ("sentencepiece", "--sentencepiece-model"),
        "moses-bpe": ("subword_nmt", "--bpe-codes"),
    }[kind]
    command += ["--bpe", name, flag, subwords]
    return f"to translate {what}{', in lower case' if text.get('lowercase') else ''}: {shlex.join(command)}"


def to_fairseq(ticket: Ticket, path: Path) -> None:
    """Write a checkpoint of fairseq's ``transformer``: stock fairseq translates with it, and needs no plugin.

    It holds plain types alone, so that torch loads it with ``weights_only``. Written whole.
    """
    _save({**_state(ticket), "args": None, "cfg": _plain_config(ticket)}, path)


def to_ctranslate2(ticket: Ticket, folder: Path, quantization: str | None = None) -> None:
    """Write a CTranslate2 model into ``folder``, by its own converter. Raises ``TicketError`` where it cannot be one.

    quantization: of ``QUANTIZATIONS``; default: float32.
    """
    if quantization not in (None, *QUANTIZATIONS):
        raise ValueError(f"unknown quantization {quantization!r}; choose one of: {', '.join(QUANTIZATIONS)}")
    new_converter = need("ctranslate2.converters", "ctranslate2").FairseqConverter
    with tempfile.TemporaryDirectory() as scratch:
        write_dictionaries(ticket, Path(scratch))
        checkpoint = Path(scratch, "folded.pt")
        _save({**_state(ticket), "args": _arguments(ticket), "cfg": None}, checkpoint)
        languages = {f"{side}_lang": ticket.architecture[side] for side in ("source", "target")}
        try:
            converter = new_converter(str(checkpoint), scratch, **languages)
            converter.convert(str(folder), quantization=quantization, force=True)
        except (ValueError, RuntimeError) as error:
            raise TicketError(f"CTranslate2 cannot hold it: {' '.join(str(error).split())}") from None


def write_dictionaries(ticket: Ticket, folder: Path) -> None:
    """Write ``dict.<language>.txt`` of both languages, as fairseq names them."""
    source = ticket.assets["dict.source"]
    target = ticket.assets.get("dict.target", source)
    for language, content in ((ticket.architecture["source"], source), (ticket.architecture["target"], target)):
        (folder / f"dict.{language}.txt").write_bytes(content)


def _state(ticket: Ticket) -> dict[str, Any]:
    """What a checkpoint holds beside its options: the folded weights, and a training that is over."""
    model = ticket.model()
    return {
        "model": {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()},
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 0}],
        "task_state": {},
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
    }


def _arguments(ticket: Ticket) -> Namespace:
    settings = checked(ticket)
    for name in ("kind", "text"):
        del settings[name]
    languages = {"source_lang": settings.pop("source"), "target_lang": settings.pop("target")}
    return Namespace(**settings, **languages, arch="transformer", task="translation", data="", left_pad_target=False)


def _plain_config(ticket: Ticket) -> dict[str, Any]:
    arguments = vars(_arguments(ticket))
    taken = {name: arguments[name] for name in _TASK if name in arguments}
    return {"task": {**_TASK, **taken}, "model": {**arguments, "_name": "transformer"}}


def _save(state: dict[str, Any], path: Path) -> None:
    with whole(path) as part:
        torch.save(state, part)
