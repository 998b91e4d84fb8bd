"""Packages that only some of the work takes: imported when it is begun."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import UserError


class MissingPackage(UserError):
    """A package that an extra of this one brings is not installed."""


def need(module: str, extra: str) -> Any:
    """The module, imported. Raises ``MissingPackage``, which names the pip ``extra`` that brings what is missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        raise MissingPackage(f"{package} is not installed: pip install 'one_layer_lt[{extra}]'") from error


def installed(package: str) -> bool:
    """Whether a package can be imported."""
    try:
        import_module(package)
    except ModuleNotFoundError:
        return False
    return True
