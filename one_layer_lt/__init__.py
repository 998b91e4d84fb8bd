"""Subnetworks of randomly weighted networks: one frozen random weight, a learned binary mask per layer.

Its names are those of ``api``, which is imported when the first of them is asked for: a command line starts without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .api import *  # noqa: F403
    from .api import __all__ as __all__
    from .api import advance_ as advance_
    from .api import masked_weight as masked_weight
else:

    def __getattr__(name: str) -> Any:
        if name.startswith("_") and name != "__all__":
            raise AttributeError(name)
        api = import_module(".api", __name__)
        return globals()[name] if name in globals() else getattr(api, name)  # a module that it has imported

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})
