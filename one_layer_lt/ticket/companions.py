"""The packages that stand beside this one and know fairseq, imported when they are needed."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from ..optional import MissingPackage, need
from .parts import TicketError

HOME = Path(__file__).resolve().parents[2]
"""The folder that holds this package and those beside it."""
BESIDE = ("fairseq_plugins", "data_prep")


def companion(name: str) -> ModuleType:
    """The module ``name`` of one of those packages, or of this one.

    Raises ``TicketError`` where something that it takes is not installed, or where a folder of the same name, found
    earlier, hides a package: ``python -m`` looks into the working directory first.
    """
    for package in BESIDE if name.partition(".")[0] in BESIDE else ():  # fairseq_plugins takes data_prep
        if hiding := _in_the_way(package):
            raise TicketError(
                f"{hiding} hides this project's own {package}: rename it, or run this in another folder (the command "
                "`one-layer-lt` of an installed package looks into none)"
            )
    try:
        found: ModuleType = need(name, "fairseq")
    except MissingPackage as error:
        raise TicketError(str(error)) from error
    return found


def _in_the_way(package: str) -> Path | None:
    """The folder or file that would be imported in place of the package beside this one."""
    if not (HOME / package).is_dir():
        return None
    imported = sys.modules.get(package)
    spec = find_spec(package) if imported is None else imported.__spec__
    if spec is None:
        return None
    places = [Path(place) for place in spec.submodule_search_locations or [spec.origin or ""]]
    return None if HOME / package in [place.resolve() for place in places] else places[0]
