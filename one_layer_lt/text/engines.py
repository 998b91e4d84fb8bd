"""Who builds, runs and converts a ticket of fairseq's Transformer. ``one_layer_lt.ticket`` calls this by name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import nn

from ..files import whole
from ..optional import installed
from ..ticket import Ticket
from ..ticket.companions import companion
from ..translation import Translator
from . import ctranslate
from .architecture import checked
from .manifest import MODELS

log = logging.getLogger(__name__)

ENGINES = ("torch", "ctranslate2")
FORMATS = ("fairseq", "ctranslate2")


def build(ticket: Ticket) -> nn.Module:
    """fairseq's Transformer, its weights on the device ``meta``."""
    model: nn.Module = companion("fairseq_plugins.architecture").build(ticket)
    return model


def engine(ticket: Ticket, wanted: str, quantization: str | None) -> str:
    """The engine that translates: ``auto`` is CTranslate2 where it is installed and can hold the model, else torch.

    Raises ``TicketError`` where the architecture cannot be, ``ValueError`` for an engine that there is not.
    """
    settings = checked(ticket)
    if wanted not in ("auto", *ENGINES):
        raise ValueError(f"unknown engine {wanted!r}; choose one of: auto, {', '.join(ENGINES)}")
    if wanted != "auto" or quantization is not None:
        return "ctranslate2" if wanted == "auto" else wanted
    if not installed(ctranslate.PACKAGE):
        return "torch" if installed("fairseq") else "ctranslate2"  # which says how to install it
    if reason := ctranslate.unheld(settings):
        log.warning("CTranslate2 cannot hold %s: fairseq translates, by --engine torch", reason)
        return "torch"
    return "ctranslate2"


def translator(ticket: Ticket, engine: str, quantization: str | None, model: nn.Module | None) -> Translator:
    """The translator of a ticket by one of ``ENGINES``. ``model``: one that is filled already, for ``torch``."""
    if engine == "ctranslate2":
        return ctranslate.CTranslator(ticket, quantization)
    new: Any = companion("fairseq_plugins.translate").TorchTranslator
    made: Translator = new(ticket, model if model is not None else ticket.model())
    return made


def convert(ticket: Ticket, folder: Path, to: str, quantization: str | None) -> None:
    """Write the dense model for ``fairseq`` or ``ctranslate2``, with its subword model, into a new folder."""
    checked(ticket)
    if to not in FORMATS:
        raise ValueError(f"cannot fold to {to!r}; choose one of: {', '.join(FORMATS)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(17, "already there: remove it, or name another folder", str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole(folder) as part:
        part.mkdir()
        if to == "fairseq":
            companion("fairseq_plugins.fold").to_folder(ticket, part)
        else:
            ctranslate.write(ticket, part, quantization)
        text = ticket.architecture["text"]
        if text and "subwords" in ticket.assets:
            (part / MODELS[text["tokenizer"]]).write_bytes(ticket.assets["subwords"])
