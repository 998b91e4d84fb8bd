"""Tickets folded into a checkpoint that stock fairseq runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from one_layer_lt.files import write_state
from one_layer_lt.text.architecture import checked
from one_layer_lt.text.manifest import MODELS
from one_layer_lt.ticket import Ticket

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


def to_folder(ticket: Ticket, folder: Path) -> None:
    """Write the checkpoint and its dictionaries into ``folder``."""
    to_fairseq(ticket, folder / "model.pt")
    write_dictionaries(ticket, folder)


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
    write_state(path, {**_state(ticket), "args": None, "cfg": _plain_config(ticket)})


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


def _plain_config(ticket: Ticket) -> dict[str, Any]:
    settings = checked(ticket)
    for name in ("kind", "text"):
        del settings[name]
    settings |= {f"{side}_lang": settings.pop(side) for side in ("source", "target")}
    taken = {name: settings[name] for name in _TASK if name in settings}
    stock = {"_name": "transformer", "arch": "transformer", "task": "translation", "data": "", "left_pad_target": False}
    return {"task": {**_TASK, **taken}, "model": {**settings, **stock}}
