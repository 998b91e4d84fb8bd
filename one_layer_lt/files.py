"""Files and folders that appear under their names only when they are whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from .errors import UserError
from .lock import hold, locked

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OLD = 10  # seconds


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to make what shall become ``path``, a file or a folder: flushed to the disk and renamed at the end.

    It is nobody else's, and gone where making it fails, or at the next call where this process is killed; what ``path``
    was before then stays. A folder can take the place of an empty one only. Raises ``OSError`` that names ``path``
    where it cannot be written.
    """
    beside = f".{path.name}."
    with (
        naming(path, beside),
        # A folder of our own, so that the name in it can be ever the same: torch.save writes it into the file.
        tempfile.TemporaryDirectory(prefix=beside, dir=path.parent) as made,
        locked(Path(made), ""),
    ):
        _clear(path)
        part = Path(made, path.name + ".part")
        yield part
        _flush(part)
        os.replace(part, path)


@contextmanager
def naming(path: Path, beside: str) -> Iterator[None]:
    """An ``OSError`` within names ``path`` in place of what has ``beside`` in its name, and where the disk is full."""
    try:
        yield
    except Exception as error:
        fault = _of_system(error)
        if fault and (beside in str(fault.filename) or (fault.filename is None and fault.errno in _FULL)):
            raise OSError(fault.errno, fault.strerror, str(path)) from error
        raise


def _of_system(error: BaseException | None) -> OSError | None:
    """The error of the system that this one is, or came of: torch makes another one of a full disk."""
    while error:
        if isinstance(error, OSError):
            return error
        error = error.__context__
    return None


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, ``whole``; text as UTF-8."""
    with whole(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any, indent: int = 1) -> None:
    """Write a value as JSON, ``whole``, in a folder that is made if need be.

    Raises ``UserError`` for NaN or infinity.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        written = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise UserError(f"{path} is not written, for a number of it is not finite ({error})") from None
    write_whole(path, written + "\n")


def write_state(path: Path, state: Any) -> None:
    """``torch.save``, ``whole``."""
    import torch

    with whole(path) as part, part.open("wb") as file:  # by its name, torch would not say why it cannot be written
        torch.save(state, file)


def first_folder(data: str) -> Path:
    """The first of the data folders that fairseq-train takes as ``A:B:...``: with dictionaries and test set."""
    return Path(data.split(os.pathsep)[0])


def sha256(*paths: Path) -> str:
    """Digest of the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _clear(path: Path) -> None:
    """Remove what killed writers of ``path`` left: those who live hold theirs, but for the moment after it is made."""
    for left in path.parent.glob(f".{escape(path.name)}.????????"):
        with suppress(UserError, OSError):
            handle = os.open(left, os.O_RDONLY)
            try:
                inside = [file.name for file in left.iterdir()]
                ours = inside == [path.name + ".part"] or (not inside and time.time() - left.stat().st_mtime > _OLD)
                if ours and hold(handle, ""):
                    shutil.rmtree(left)
            finally:
                os.close(handle)


def _flush(made: Path) -> None:
    for path in made.rglob("*") if made.is_dir() else [made]:
        if path.is_file():
            with path.open("r+b") as file:
                os.fsync(file.fileno())
