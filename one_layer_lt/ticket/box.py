"""The tickets that come with the package: files in ``one_layer_lt/tickets``, named without their ending."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Union

BOX = Path(__file__).resolve().parents[1] / "tickets"
ENDING = ".ticket"


def boxed() -> dict[str, Path]:
    """The files, by their names, in order."""
    return {path.stem: path for path in sorted(BOX.glob(f"*{ENDING}"))}


def found(path: Union[str, os.PathLike[str]]) -> Path:
    """The file that is meant: ``path``, or where there is no such file, the ticket of that name in the package.

    Raises ``FileNotFoundError``, which lists those, where it is neither and has neither folder nor ending.
    """
    path = Path(path)
    if path.is_file() or path.name != str(path) or path.suffix == ENDING:
        return path
    box = boxed()
    if path.name not in box and not path.exists():
        there = f"which has {', '.join(box)}" if box else "which has none"
        raise FileNotFoundError(errno.ENOENT, f"no such file, and no ticket of the package, {there}", str(path))
    return box.get(path.name, path)
