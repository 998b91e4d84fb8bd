"""Subnetworks of randomly weighted networks: one frozen random weight, a learned binary mask per layer."""

from .config import MaskConfig
from .convert import advance_, fold_, mask_, masked_modules, masked_weight, scores_of
from .parametrization import MaskedWeight, cached_weights
from .projection import Projection, project_
from .rules import RULES
from .summary import Summary, summarize
from .ticket import Ticket, TicketError, TicketSet, WeightPool, load_ticket, save_ticket
from .weights import INITS, SharedWeight

__all__ = [
    "INITS",
    "RULES",
    "MaskConfig",
    "MaskedWeight",
    "Projection",
    "SharedWeight",
    "Summary",
    "Ticket",
    "TicketError",
    "TicketSet",
    "WeightPool",
    "advance_",
    "cached_weights",
    "fold_",
    "load_ticket",
    "mask_",
    "masked_modules",
    "masked_weight",
    "project_",
    "save_ticket",
    "scores_of",
    "summarize",
]
