"""Tickets to use: save, load, run, and several on one random weight.

save_ticket("net.ticket", model)                       # any masked model
fill = load_ticket("net.ticket").fill_(the_same_net)   # into an unmasked one of the same architecture

ticket = load_ticket("m30k.ticket")                    # a translator, made by `one-layer-lt export`
print(ticket.translate(["Ein Hund rennt."]))
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Union

from torch import nn

from ..translation import Decoding, Translator
from .box import ENDING, found
from .companions import companion
from .encoding import read, write
from .fill import contents_of, fill_
from .parts import Contents, TicketError, refusing
from .pool import WeightPool

StrPath = Union[str, "os.PathLike[str]"]

# Who builds and runs a ticket's model: a ticket can only name one of these.
ARCHITECTURES = {"fairseq_transformer": "one_layer_lt.text.engines", "vision": "one_layer_lt.vision.ticket"}


@dataclass(frozen=True)
class Ticket(Contents):
    """A masked model as its seed, its bits and what running it takes; see ``Contents`` for the fields."""

    def __repr__(self) -> str:
        kind = self.architecture.get("kind", "none named")
        return f"<Ticket: {len(self.masks)} masks over {len(self.weights)} random weights, architecture: {kind}>"

    @classmethod
    def of(
        cls,
        model: nn.Module,
        architecture: Mapping[str, Any] | None = None,
        assets: Mapping[str, bytes] | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> Ticket:
        """The ticket of a masked model, which is left as it is. Parameters and errors as for ``save_ticket``."""
        return cls(**vars(contents_of(model, architecture, assets, card)))

    def save(self, path: StrPath) -> None:
        """Write the ticket; a file of that name is replaced once the new one is whole."""
        write(self, Path(path))

    @refusing()
    def fill_(self, model: nn.Module, pool: WeightPool | None = None) -> nn.Module:
        """Give ``model``, unmasked and of the same architecture, the effective weights, in place, and return it.

        Parameters on the device ``meta`` are allocated, others overwritten; all are frozen. Raises ``TicketError``,
        before anything has changed, where names or shapes differ or a random weight cannot be drawn as it was.
        """
        return fill_(model, self, pool)

    def model(self, pool: WeightPool | None = None) -> nn.Module:
        """The dense model, float32, in evaluation mode. Random weights come from ``pool``, or are drawn for this.

        Raises ``TicketError`` where the ticket does not say how to build it, or does not fit what is built.
        """
        return self.fill_(self.skeleton(), pool)

    @refusing()
    def skeleton(self) -> nn.Module:
        """The model without its weights, which take no memory yet (device ``meta``)."""
        model: nn.Module = self._architecture.build(self)
        return model

    @refusing()
    def translator(
        self, engine: str = "auto", quantization: str | None = None, model: nn.Module | None = None
    ) -> Translator:
        """A translator of raw text.

        engine: ``torch`` (fairseq's search), ``ctranslate2``, or ``auto``: CTranslate2 where it is installed and can
            hold the model, else torch. quantization: of CTranslate2's, default float32.
        model: one that is filled already, for ``torch``.
        """
        chosen = self.engine(engine, quantization)
        made: Translator = self._architecture.translator(self, chosen, quantization, model)
        return made

    def translate(self, lines: Sequence[str], decoding: Decoding | None = None) -> list[str]:
        """Translate raw lines, in their order, by the engine ``auto``. The first call builds a model, which is kept.

        Raises ``TypeError`` where the lines are not texts, and ``TicketError`` where the ticket is no translator's.
        """
        return self._own_translator.translate(lines, decoding or Decoding())

    def engine(self, wanted: str = "auto", quantization: str | None = None) -> str:
        """The engine that ``translator`` takes: ``torch`` or ``ctranslate2``."""
        engine: str = self._architecture.engine(self, wanted, quantization)
        return engine

    @refusing()
    def convert(self, folder: StrPath, to: str, quantization: str | None = None) -> None:
        """Write the dense model for others to run, with dictionaries and subword model, into a new ``folder``.

        to: ``fairseq`` (a checkpoint of the stock arch ``transformer``) or ``ctranslate2``.
        quantization: of CTranslate2's, default float32.

        Raises ``FileExistsError`` where the folder holds something, ``TicketError`` where the model cannot be that.
        """
        self._architecture.convert(self, Path(folder), to, quantization)

    fold = convert  # its name before

    @cached_property
    def _own_translator(self) -> Translator:
        return self.translator()

    @property
    def _architecture(self) -> Any:
        kind = self.architecture.get("kind")
        if kind is None:
            raise TicketError(
                "the ticket does not say how to build its network: build an unmasked one in Python, and give it to the "
                "ticket's fill_"
            )
        if not isinstance(kind, str) or kind not in ARCHITECTURES:
            raise TicketError(
                f"the ticket's architecture {kind!r:.60} is unknown; known are {', '.join(ARCHITECTURES)}"
            )
        return companion(ARCHITECTURES[kind])


class TicketSet:
    """Several tickets on one random weight: each costs its bits, and one at a time occupies the one dense model.

        tickets = TicketSet({"de-en": load_ticket("a.ticket"), "en-de": load_ticket("b.ticket")})
        tickets.use("en-de").translate(["A dog runs."])

    Tickets whose architectures differ get a model each, and share what random weights they can. So it is by the engine
    ``torch``; by ``ctranslate2`` each ticket has a dense model of its own.
    """

    def __init__(self, tickets: Mapping[str, Ticket], engine: str = "auto", quantization: str | None = None) -> None:
        self.tickets = dict(tickets)
        self.engine, self.quantization = engine, quantization
        self._engines: dict[str, str] = {}
        self.pool = WeightPool()
        self._models: dict[str, nn.Module] = {}
        self._held: dict[str, str] = {}  # architecture -> the ticket that its model holds now
        self._translators: dict[str, Translator] = {}

    def model(self, name: str) -> nn.Module:
        """The model as ticket ``name`` makes it, until the next call for another. Raises ``KeyError`` for no ticket."""
        ticket = self.tickets[name]
        key = _key(ticket)
        if key not in self._models:
            self._models[key] = ticket.skeleton()
        if self._held.get(key) != name:
            self._held.pop(key, None)
            ticket.fill_(self._models[key], self.pool)
            self._held[key] = name
        return self._models[key]

    def use(self, name: str) -> Translator:
        """The translator of ticket ``name``, good until the next call."""
        ticket = self.tickets[name]
        if name not in self._engines:
            self._engines[name] = ticket.engine(self.engine, self.quantization)
        engine = self._engines[name]
        model = self.model(name) if engine == "torch" else None
        if name not in self._translators:
            self._translators[name] = ticket.translator(engine, self.quantization, model)
        return self._translators[name]


def _key(ticket: Ticket) -> str:
    """Tickets of one key fit one model, whatever their languages."""
    shapes = [(mask.name, mask.weight.shape) for mask in ticket.masks]
    shapes += [(name, tuple(tensor.shape)) for name, tensor in ticket.dense.items()]
    shaping = {name: value for name, value in ticket.architecture.items() if name not in ("source", "target", "text")}
    return json.dumps([shaping, shapes], sort_keys=True)


def save_ticket(
    path: StrPath,
    model: nn.Module,
    *,
    architecture: Mapping[str, Any] | None = None,
    assets: Mapping[str, bytes] | None = None,
    card: Mapping[str, Any] | None = None,
) -> Ticket:
    """Write a masked model as a ticket, and return it. The model is left as it is.

    architecture: JSON-like, with a ``kind`` of ``ARCHITECTURES``; without it, reading takes ``Ticket.fill_``.
    assets: files that running the model takes, by name.
    card: what the ticket says of itself: ``{"name": ..., ...}``, with the fields of docs/ticket-format.md.

    Raises ``ValueError`` where nothing is masked, or a random weight is no longer what its seed gives; ``TicketError``
    for a flaw in the card; ``OSError`` where the file cannot be written.
    """
    ticket = Ticket.of(model, architecture, assets, card)
    ticket.save(path)
    return ticket


def load_ticket(path: StrPath) -> Ticket:
    """Read a ticket, and check its digest, sizes and masks. Nothing in it is unpickled or run.

    path: a file, or the name of a ticket that comes with the package (`one-layer-lt tickets`).

    Raises ``TicketError`` for any flaw, and ``OSError`` where there is nothing to read.
    """
    return Ticket(**vars(read(found(path))))


def names_of(paths: Iterable[StrPath]) -> list[str]:
    """A short name a ticket: the file's name without ``.ticket``. Raises ``ValueError`` where two are the same."""
    names = [Path(path).name.removesuffix(ENDING) for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two tickets are called {name}: rename one")
    return names
