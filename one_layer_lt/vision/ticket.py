"""Tickets of networks for images. ``one_layer_lt.ticket`` calls this by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from ..ticket import Ticket, TicketError
from . import models
from .data import DataSet
from .recipes import Recipe

_MOST_CLASSES, _MOST_SIDE, _MOST_WIDTH = 1 << 16, 1 << 12, 64.0
_MEMBERS = {"kind", "model", "shape", "classes", "width", "affine", "binary", "mean", "std"}


def ticket_of(model: nn.Module, recipe: Recipe, data: DataSet) -> Ticket:
    """The ticket of a trained masked network. Raises ``ValueError`` where nothing is masked."""
    return Ticket.of(
        model,
        {
            "kind": "vision",
            "model": recipe.model,
            "shape": list(data.train.shape),
            "classes": list(data.classes),
            "width": float(recipe.width),
            "affine": recipe.affine,
            "binary": recipe.binary,
            "mean": [float(value) for value in data.mean],
            "std": [float(value) for value in data.std],
        },
    )


def build(ticket: Ticket) -> nn.Module:
    """The network of the ticket's architecture, its weights on the device ``meta``: nothing is allocated."""
    about = checked(ticket)
    try:
        with torch.device("meta"):
            model = models.build(
                about["model"],
                shape=tuple(about["shape"]),
                classes=len(about["classes"]),
                width=about["width"],
                affine=about["affine"],
                binary=about["binary"],
            )
    except (ValueError, RuntimeError) as error:
        raise TicketError(f"the ticket's architecture cannot be built ({error})") from error
    for module in model.modules():  # a counter that no ticket holds, and evaluation does not read
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.num_batches_tracked = torch.zeros((), dtype=torch.long)
    return model


def checked(ticket: Ticket) -> dict[str, Any]:
    """The settings of the architecture, each of its type and within bounds. Raises ``TicketError`` otherwise."""
    about = dict(ticket.architecture)
    if set(about) != _MEMBERS:
        raise TicketError(f"the ticket's architecture must have just {', '.join(sorted(_MEMBERS))}")
    if about["model"] not in list(models.MODELS):
        raise TicketError(f"the ticket's architecture has the unknown model {about['model']!r:.60}")
    shape, classes = about["shape"], about["classes"]
    if not (isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and 0 < n <= _MOST_SIDE for n in shape)):
        raise TicketError(f"the ticket's images cannot be of shape {shape!r:.60}")
    if not (isinstance(classes, list) and 0 < len(classes) <= _MOST_CLASSES and all(type(c) is str for c in classes)):
        raise TicketError("the ticket's classes must be a list of names")
    width = about["width"]
    if type(width) is not float or not 0 < width <= _MOST_WIDTH:
        raise TicketError(
            f"the ticket's architecture has the width {width!r:.60}, which must be within 0 and {_MOST_WIDTH:g}"
        )
    for name in ("affine", "binary"):
        if type(about[name]) is not bool:
            raise TicketError(f"the ticket's architecture has {name} {about[name]!r:.60}, which must be true or false")
    for name in ("mean", "std"):
        values = about[name]
        good = isinstance(values, list) and len(values) == shape[0]
        if not (good and all(type(value) is float and math.isfinite(value) for value in values)):
            raise TicketError(f"the ticket's architecture has {name} {values!r:.60}, which must be a number a channel")
    if not all(value > 0 for value in about["std"]):
        raise TicketError(f"the ticket's architecture has std {about['std']!r:.60}, which must be positive")
    return about


def engine(ticket: Ticket, wanted: str, quantization: str | None) -> NoReturn:
    """A network for images translates nothing."""
    raise TicketError("the ticket is of a network for images: one-layer-lt vision evaluate runs it")


def convert(ticket: Ticket, folder: Path, to: str, quantization: str | None) -> NoReturn:
    """There is no other engine's format for it."""
    raise TicketError("the ticket is of a network for images: Ticket.model() gives the dense network")
