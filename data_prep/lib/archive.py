"""Files by name, out of a folder or an archive that nobody has vouched for."""

from __future__ import annotations

import logging
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from one_layer_lt.errors import UserError
from one_layer_lt.files import whole
from one_layer_lt.progress import progress
from one_layer_lt.unpacking import TarHeader, check_unpacked

log = logging.getLogger(__name__)

Files = dict[str, Path]  # by the name that was asked for
Group = Sequence[str]  # names of files that belong together

ENDINGS = (".tgz", ".tar.gz", ".tar", ".tar.bz2", ".tar.xz", ".zip")


def is_archive(path: Path) -> bool:
    return path.name.endswith(ENDINGS)


def extract(archive: Path, names: Collection[str], into: Path) -> dict[str, Files]:
    """Copy the regular files of these base names (or these and .gz) out of the archive: its folders that hold some.

    Only the base name of a member is ever used, in a folder of `into` for each of the archive's, and links are passed
    over, so nothing can land elsewhere. Each file appears under its name when it is whole. Of a member that is there
    twice the later counts, as for tar.
    """
    found: dict[str, Files] = {}
    places: dict[str, Path] = {}
    log.info("unpacking %s", archive.name)
    try:
        for member, size, content in _members(archive):
            name = member.name if member.name in names else re.sub(r"\.gz$", "", member.name)
            if name in names:
                above = str(archive / member.parent)
                folder = places.setdefault(above, into / str(len(places)))
                folder.mkdir(parents=True, exist_ok=True)
                with whole(folder / member.name) as part:
                    with part.open("wb") as file:
                        shutil.copyfileobj(content, file, 1 << 20)
                    if part.stat().st_size != size:
                        raise EOFError
                found.setdefault(above, {})[name] = folder / member.name
    except UserError:
        raise
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, ValueError, RuntimeError) as error:
        raise UserError(f"{archive} is cut short or not an archive: delete it and get it again") from error
    except OSError as error:
        if error.errno is not None:  # a real one: the disk is full, or the file may not be read
            raise
        raise UserError(f"{archive} is cut short or damaged: delete it and get it again") from error
    return found


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, int, IO[bytes]]]:
    """Name, size and content of every regular file, in one pass."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            check_unpacked(archive, sum(entry.file_size for entry in zipped.infolist()))
            for entry in zipped.infolist():
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise NotImplementedError  # zipfile unpacks others without a bound
                if not entry.is_dir():
                    with zipped.open(entry) as content:
                        yield PurePosixPath(entry.filename), entry.file_size, content
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
                yield PurePosixPath(member.name), member.size, data
            bar.update(file.tell() - bar.n)


def collect(origin: Path, groups: Collection[Group], into: Path) -> Files:
    """Every file, plain or gzip, from a folder (or its subfolders), an archive, or archives within the folder.

    Files of one group belong together, such as the two sides of a split: they come from one folder. Raises
    ``UserError`` where none has them all, or several have.
    """
    if not origin.exists():
        raise UserError(f"--from {origin} does not exist")
    places: dict[str, Files] = {}
    if origin.is_dir():
        for folder in (origin, *sorted(path for path in origin.iterdir() if path.is_dir())):
            places[str(folder)] = _within(folder, [name for group in groups for name in group])
        archives = sorted(path for path in origin.iterdir() if is_archive(path))
    elif is_archive(origin):
        archives = [origin]
    else:
        raise UserError(f"--from {origin} is neither a folder nor an archive ({', '.join(ENDINGS)})")
    names = {name for group in groups if not any(_holds(files, group) for files in places.values()) for name in group}
    for number, archive in enumerate(archives if names else []):
        places.update(extract(archive, names, into / str(number)))
    return together(f"--from {origin}", places, groups)


def together(origin: str, places: Mapping[str, Files], groups: Collection[Group], mend: str = "") -> Files:
    """For each group of names its files, from the one place that holds them all, or the one above all others that do.

    Raises ``UserError``, which begins with ``origin``, where there is none such.
    """
    names = [name for group in groups for name in group]
    if missing := [name for name in names if not any(name in files for files in places.values())]:
        raise UserError(f"{origin} lacks {', '.join(missing)} (plain or .gz){mend}")
    found: Files = {}
    for group in groups:
        having = sorted((place for place, files in places.items() if _holds(files, group)), key=len)
        if not having:
            parts = [[name for name in group if name in files] for files in places.values()]
            said = "; ".join(f"{place} has {', '.join(part)}" for place, part in zip(places, parts) if part)
            raise UserError(f"{origin} has no folder with all of {', '.join(group)}: {said}: put them into one")
        if not all(Path(having[0]) in Path(other).parents for other in having[1:]):
            raise UserError(f"{origin} has {', '.join(group)} in {' and in '.join(having)}: give one of them as --from")
        found.update({name: places[having[0]][name] for name in group})
    return found


def _holds(files: Files, group: Group) -> bool:
    return all(name in files for name in group)


def _within(folder: Path, names: Collection[str]) -> Files:
    """Those of the names that are files of the folder itself, plain before gzip."""
    candidates = ((name, folder / (name + ending)) for name in names for ending in (".gz", ""))
    return {name: path for name, path in candidates if path.is_file()}
