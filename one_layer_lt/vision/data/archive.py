"""The files in an archive that nobody has vouched for, read where they are: nothing is ever unpacked to disk."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Callable

from ...errors import UserError
from ...unpacking import TarHeader, check_unpacked
from .errors import DataError

_OPEN: dict[str, Callable[[Path], Any]] = {
    ".tar": lambda path: path.open("rb"),
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.xz": lzma.open,
    ".tar.bz2": bz2.open,
}
ENDINGS = (*_OPEN, ".zip")

_ZIP_TYPES = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1  # a zip entry's flag
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Member:
    """A regular file in an archive: its name, its size and, until the next one comes, its content."""

    name: PurePosixPath
    size: int
    read: Callable[[], bytes]


def is_archive(path: Path) -> bool:
    return path.name.endswith(ENDINGS)


def hint(folder: Path) -> str:
    """What to do about a folder that holds archives, and not what was looked for in it; else nothing."""
    archives = sorted(path for path in folder.iterdir() if is_archive(path)) if folder.is_dir() else []
    return f", or name the archive in it, {archives[0].name}" if archives else ""


@contextmanager
def members(archive: Path) -> Iterator[Iterator[Member]]:
    """The regular files of an archive, in its order, in one pass. Sizes are the archive's word, and are not exceeded.

    Raises ``DataError`` for a member that is absolute, climbs (``..``) or is neither file nor folder (links, above
    all), for an archive that is damaged or ends before its end, and for one that unpacks to far more than it holds;
    that, too, while it is read.
    """
    try:
        if archive.name.endswith(".zip"):
            with zipfile.ZipFile(archive) as zipped:
                yield _zip_members(archive, zipped)
        else:
            opener = next(opener for ending, opener in _OPEN.items() if archive.name.endswith(ending))
            with opener(archive) as file:
                yield _tar_members(archive, file)
    except UserError as error:
        raise error if isinstance(error, DataError) else DataError(str(error)) from None
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError) as error:
        raise _damaged(archive) from error
    except (struct.error, ValueError, OverflowError, RuntimeError) as error:  # a nonsensical entry
        raise _damaged(archive) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # bz2's word for damage, and zipfile's
            raise
        raise _damaged(archive) from error


def _tar_members(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    size = 0
    with tarfile.open(fileobj=file, mode="r|", tarinfo=TarHeader) as tar:
        for entry in tar:
            size += entry.size
            check_unpacked(archive, size)
            plain = entry.isreg() or entry.isdir()
            link = "a link" if entry.issym() or entry.islnk() else "neither a file nor a folder"
            name = _checked(archive, entry.name, "" if plain else link)
            if entry.isreg():
                yield Member(name, entry.size, partial(_content, tar.extractfile, entry, entry.size))
    while block := file.read(_BLOCK):  # to where the compression's checksum is
        size += len(block)
        check_unpacked(archive, size)


def _zip_members(archive: Path, zipped: zipfile.ZipFile) -> Iterator[Member]:
    check_unpacked(archive, sum(entry.file_size for entry in zipped.infolist()))
    for entry in zipped.infolist():
        mode = entry.external_attr >> 16
        name = _checked(archive, entry.filename, "a link" if stat.S_ISLNK(mode) else "")
        if entry.flag_bits & _ENCRYPTED:
            raise DataError(f"{archive}: {str(name)!r} is encrypted: pack it again without a password")
        if entry.compress_type not in _ZIP_TYPES:  # zipfile unpacks others without a bound
            raise DataError(f"{archive}: {str(name)!r} is neither stored nor deflated: pack it again, as most do")
        if not entry.filename.endswith("/"):
            yield Member(name, entry.file_size, partial(_content, zipped.open, entry, entry.file_size))


def _checked(archive: Path, name: str, kind: str) -> PurePosixPath:
    path = PurePosixPath(name)
    trouble = kind or ("an absolute path" if path.is_absolute() else "a path that climbs" if ".." in path.parts else "")
    if trouble:
        raise DataError(f"{archive} holds {name!r}, {trouble}: pack it again without, if you trust it at all")
    return path


def _content(opener: Callable[[Any], IO[bytes] | None], entry: object, size: int) -> bytes:
    file = opener(entry)
    if file is None:
        raise EOFError
    with file:
        content = file.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _damaged(archive: Path) -> DataError:
    return DataError(f"{archive} is cut short or damaged: get it again")
