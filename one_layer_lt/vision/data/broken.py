"""What is said of image files that cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from .errors import DataError

logger = logging.getLogger(__name__)

_NAMED = 3


def report(root: Path, failed: Mapping[str, str], count: int, policy: str) -> None:
    """Refuse the files that ``failed``, of ``count``, by a ``DataError``, or with the policy ``skip`` log one warning.

    failed: name -> why.
    """
    if not failed:
        return
    named = "; ".join(f"{name!r}: {why}" for name, why in list(failed.items())[:_NAMED])
    more = "; ..." if len(failed) > _NAMED else ""
    what = f"{root}: {len(failed):,} of {count:,} images cannot be decoded ({named}{more})"
    if policy == "skip":
        logger.warning("%s: left out", what)
        return
    raise DataError(f"{what}: mend or delete them, or leave them out (broken='skip', or --broken skip)")


def unequal(root: Path, name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What to say of an image whose shape (channels, height, width) is not that of those before it."""
    these, those = (f"{width}x{height}" for _, height, width in (shape, expected))
    return f"{root}: {name!r} is of {these} pixels, and images before it of {those}: choose one size for all (size=32)"
