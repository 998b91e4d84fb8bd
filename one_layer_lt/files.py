"""Files and folders that appear under their names only when they are whole."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import UserError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to make what shall become ``path``, a file or a folder: flushed to the disk and renamed at the end.

    It is nobody else's, and gone where making it fails; what ``path`` was before then stays. A folder can take the
    place of an empty one only. Raises ``OSError`` that names ``path`` where it cannot be written.
    """
    beside = f".{path.name}."
    try:
        # A folder of our own, so that the name in it can be ever the same: torch.save writes it into the file.
        with tempfile.TemporaryDirectory(prefix=beside, dir=path.parent) as scratch:
            part = Path(scratch, path.name + ".part")
            yield part
            _flush(part)
            os.replace(part, path)
    except OSError as error:
        if beside in str(error.filename):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


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


def _flush(made: Path) -> None:
    for path in made.rglob("*") if made.is_dir() else [made]:
        if path.is_file():
            with path.open("r+b") as file:
                os.fsync(file.fileno())
