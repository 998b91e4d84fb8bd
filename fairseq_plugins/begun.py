"""What a folder of trainings was begun with: it goes on with nothing else."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from one_layer_lt.errors import UserError
from one_layer_lt.files import write_json

from .belonging import names_and_sizes

logger = logging.getLogger(__name__)

_HARMLESS = ("--num-workers", "--log-interval", "--log-format", "--no-progress-bar", "--user-dir")

_TABLES = ("flags", "data")


def check_begun(path: Path, settings: Mapping[str, Any], arguments: Sequence[str]) -> None:
    """Keep settings and fairseq-train's arguments in the file, or compare with those that it keeps.

    Raises ``UserError`` that names the two values where they differ. A data folder may have moved: its files' names and
    sizes count. A file of before, which lacks the arguments, is completed with a warning.
    """
    words, data = _parted(arguments)
    now = {**settings, "flags": _by_flag(words), "data": {folder: names_and_sizes(Path(folder)) for folder in data}}
    begun = _read(path) if path.is_file() else {}
    for name, value in settings.items():
        if begun and begun.get(name) != value:
            raise _other(f"--{name} {value}", path, begun.get(name))
    if begun and not all(isinstance(begun.get(table), dict) for table in _TABLES):
        logger.warning("%s does not say what arguments it was begun with, as those of before", path.parent)
    else:
        _check_flags(path, begun.get("flags", now["flags"]), now["flags"])
        _check_data(path, begun.get("data", now["data"]), now["data"])
    if any(begun.get(table) is None for table in _TABLES):
        write_json(path, now)


def _check_flags(path: Path, begun: Mapping[str, str], now: Mapping[str, str]) -> None:
    for flag in {**now, **begun}:
        if begun.get(flag) != now.get(flag) and flag not in _HARMLESS:
            here, there = (f"{flag} {flags[flag]}".strip() if flag in flags else f"no {flag}" for flags in (now, begun))
            raise _other(here, path, there)


def _check_data(path: Path, begun: Mapping[str, str], now: Mapping[str, str]) -> None:
    if list(begun.values()) != list(now.values()):
        here, there = (", ".join(folders) or "no data folder" for folders in (now, begun))
        raise _other(here, path, there if here != there else f"{there}, whose files have changed since")


def _other(here: str, path: Path, there: Any) -> UserError:
    return UserError(f"{here}: {path.parent} was begun with {there}; choose another --out")


def _parted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments without data folders, and the data folders."""
    data = [word for word in arguments if not word.startswith("-") and any(Path(word).glob("dict.*.txt"))]
    return [word for word in arguments if word not in data], data


def _by_flag(words: Sequence[str]) -> dict[str, str]:
    """Each flag's values, as they were written."""
    found: dict[str, list[str]] = {}
    values: list[str] = []
    for word in words:
        if word.startswith("--"):
            flag, _, value = word.partition("=")
            values = found[flag] = [value] if value else []
        else:
            values.append(word)
    return {flag: " ".join(values) for flag, values in found.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): remove it") from error
