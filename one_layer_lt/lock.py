"""A folder for one process at a time. The system frees it, however the process ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError

_TRIES = 20


@contextmanager
def locked(folder: Path, taken: str) -> Iterator[None]:
    """Hold a folder, made where it is missing. Raises ``UserError(taken)`` where another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":  # it opens no folders
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        hold(handle, taken)
        yield
    finally:
        os.close(handle)


def hold(handle: int, taken: str) -> bool:
    """Hold what is open as ``handle`` until all who inherit that have closed it. Raises ``UserError(taken)``.

    False where the system, or the disk (a folder over NFS), has no locks.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    for _ in range(_TRIES):  # the children of a process that has just ended may hold it for a moment
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:
            return False
        else:
            return True
    raise UserError(taken)
