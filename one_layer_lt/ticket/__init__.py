"""Tickets: a masked model as one file, a seed plus about one bit per weight. The format: docs/ticket-format.md."""

from __future__ import annotations

from .parts import TicketError
from .pool import WeightPool
from .ticket import Ticket, TicketSet, load_ticket, save_ticket

__all__ = ["Ticket", "TicketError", "TicketSet", "WeightPool", "load_ticket", "save_ticket"]
