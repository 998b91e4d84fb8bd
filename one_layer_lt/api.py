"""What `import one_layer_lt` offers."""

from .config import MaskConfig
from .convert import fold_, mask_, masked_modules, parametrization_of, scores_of, set_update_
from .parametrization import MaskedWeight, cached_weights
from .projection import Projection, project_
from .pruning import fold_pruned_, prunable_, prune_
from .rules import RULES, MaskRule
from .sharing import SHARES
from .summary import Summary, summarize
from .ticket import Ticket, TicketError, TicketSet, WeightPool, load_ticket, save_ticket
from .translation import Decoding
from .version import __version__
from .weights import INITS, SharedWeight

# Names of before, still understood.
advance_, masked_weight = set_update_, parametrization_of

__all__ = [
    "INITS",
    "RULES",
    "SHARES",
    "Decoding",
    "MaskConfig",
    "MaskRule",
    "MaskedWeight",
    "Projection",
    "SharedWeight",
    "Summary",
    "Ticket",
    "TicketError",
    "TicketSet",
    "WeightPool",
    "__version__",
    "cached_weights",
    "fold_",
    "fold_pruned_",
    "load_ticket",
    "mask_",
    "masked_modules",
    "parametrization_of",
    "project_",
    "prunable_",
    "prune_",
    "save_ticket",
    "scores_of",
    "set_update_",
    "summarize",
]
