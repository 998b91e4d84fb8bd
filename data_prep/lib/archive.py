"""Files by name, out of a folder or an archive that nobody has vouched for."""

from __future__ import annotations

import logging
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from one_layer_lt.errors import UserError
from one_layer_lt.files import whole
from one_layer_lt.progress import progress
from one_layer_lt.unpacking import TarHeader, check_unpacked

log = logging.getLogger(__name__)

ENDINGS = (".tgz", ".tar.gz", ".tar", ".tar.bz2", ".tar.xz", ".zip")


def is_archive(path: Path) -> bool:
    return path.name.endswith(ENDINGS)


def extract(archive: Path, names: Collection[str], into: Path) -> dict[str, Path]:
    """Copy the regular files of these base names (or these and .gz) out of the archive, flat, into `into`.

    Only the base name of a member is ever used and links are passed over, so nothing can land elsewhere. Each file
    appears under its name when it is whole. Names that the archive lacks are missing from the answer.
    """
    into.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path] = {}
    wanted = set(names)
    log.info("unpacking %s", archive.name)
    try:
        for member, size, content in _members(archive):
            name = member if member in wanted else re.sub(r"\.gz$", "", member)
            if name in wanted:
                with whole(into / member) as part:
                    with part.open("wb") as file:
                        shutil.copyfileobj(content, file, 1 << 20)
                    if part.stat().st_size != size:
                        raise EOFError
                found[name] = into / member
                wanted.remove(name)
                if not wanted:
                    break
    except UserError:
        raise
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, ValueError, RuntimeError) as error:
        raise UserError(f"{archive} is cut short or not an archive: delete it and get it again") from error
    except OSError as error:
        if error.errno is not None:  # a real one: the disk is full, or the file may not be read
            raise
        raise UserError(f"{archive} is cut short or damaged: delete it and get it again") from error
    return found


def _members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Base name, size and content of every regular file, in one pass."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            check_unpacked(archive, sum(entry.file_size for entry in zipped.infolist()))
            for entry in zipped.infolist():
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise NotImplementedError  # zipfile unpacks others without a bound
                if not entry.is_dir():
                    with zipped.open(entry) as content:
                        yield PurePosixPath(entry.filename).name, entry.file_size, content
        return
    with ExitStack() as stack:
        file = stack.enter_context(archive.open("rb"))
        bar = stack.enter_context(progress(archive.name, archive.stat().st_size, "B"))
        tar = stack.enter_context(tarfile.open(fileobj=file, mode="r|*", tarinfo=TarHeader))
        size = 0
        for member in tar:
            size += member.size
            check_unpacked(archive, size)
            data = tar.extractfile(member) if member.isreg() else None
            if data is not None:
                yield PurePosixPath(member.name).name, member.size, data
            bar.update(file.tell() - bar.n)


def collect(origin: Path, names: Collection[str], into: Path) -> dict[str, Path]:
    """Every named file, plain or gzip, from a folder (or its subfolders), an archive, or archives within the folder."""
    if not origin.exists():
        raise UserError(f"--from {origin} does not exist")
    found: dict[str, Path] = {}
    if origin.is_dir():
        for name in names:
            patterns = (name, name + ".gz", "*/" + name, "*/" + name + ".gz")
            paths = (path for pattern in patterns for path in sorted(origin.glob(pattern)) if path.is_file())
            if path := next(paths, None):
                found[name] = path
        archives = sorted(path for path in origin.iterdir() if is_archive(path)) if len(found) < len(names) else []
    elif is_archive(origin):
        archives = [origin]
    else:
        raise UserError(f"--from {origin} is neither a folder nor an archive ({', '.join(ENDINGS)})")
    for archive in archives:
        missing = set(names) - set(found)
        if missing:
            found.update(extract(archive, missing, into))
    missing = set(names) - set(found)
    if missing:
        raise UserError(f"--from {origin} lacks {', '.join(name for name in names if name in missing)} (plain or .gz)")
    return found
