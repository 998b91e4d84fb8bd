"""Parallel text on disk: UTF-8, one sentence a line, plain or gzip, always streamed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import IO, Callable, cast

from ..errors import UserError
from ..progress import progress
from ..unpacking import check_unpacked

Pair = tuple[Path, Path]  # source file, target file
LONGEST = 1 << 20  # bytes of a line


def open_binary(path: Path) -> IO[bytes]:
    """The file's bytes; gzip is told by its first two bytes, not by the name."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        return cast("IO[bytes]", gzip.open(path, "rb") if packed else path.open("rb"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def read_lines(path: Path) -> Iterator[str]:
    """Lines without their ends. Only "\\n" (or "\\r\\n") ends a line; a "\\r" within becomes a space, because fairseq
    would take it for a line end, and a leading byte order mark is dropped. Raises ``UserError`` for lines of more than
    ``LONGEST`` bytes, text that is not UTF-8, and gzip files that are damaged or unpack to far more than they hold.
    """
    number = 0
    with open_binary(path) as file:
        try:
            check_gzip(path, file)
            for number, line in enumerate(iter(lambda: file.readline(LONGEST + 1), b""), 1):
                if len(line) > LONGEST:
                    raise UserError(
                        f"{path}: line {number} is of more than {LONGEST:,} bytes: no sentence is that long"
                    )
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                yield text.replace("\r", " ")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: line {number} is not UTF-8: convert the file, for example with iconv") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{path}: gzip file cut short or damaged at line {number}: get it again") from error


def check_gzip(path: Path, file: IO[bytes]) -> None:
    """Raises as ``check_unpacked``: unpacking goes a hundred times as fast as the lines that it may bring."""
    if isinstance(file, gzip.GzipFile):
        while file.read(1 << 20):
            check_unpacked(path, file.tell())
        file.seek(0)


_CONTROL = dict.fromkeys((*range(9), *range(14, 28), *range(127, 133), *range(134, 160), 8203, 65279))


def tidy(line: str) -> str:
    """Every kind and run of white space becomes one space; control characters and invisible marks go.

    What remains survives both tokenizers and fairseq, which split at any white space.
    """
    return " ".join(line.translate(_CONTROL).split())


def read_pairs(files: Pair, read: Callable[[Path], Iterator[str]] = read_lines) -> Iterator[tuple[str, str]]:
    """Both files in step; different lengths are an error that names both files and both counts."""
    counts = [0, 0]
    for pair in zip_longest(*map(read, files)):
        for side, line in enumerate(pair):
            counts[side] += line is not None
        left, right = pair
        if left is not None and right is not None:
            yield left, right
    if counts[0] != counts[1]:
        raise UserError(
            f"{files[0]} has {counts[0]:,} lines but {files[1]} has {counts[1]:,}: "
            "line n of one must be the translation of line n of the other"
        )


def select(pairs: Iterable[tuple[str, str]], positions: Iterable[int]) -> Iterator[tuple[str, str]]:
    """The pairs at these positions (from 0, ascending)."""
    wanted = iter(positions)
    position = next(wanted, None)
    for number, pair in enumerate(pairs):
        if number == position:
            yield pair
            position = next(wanted, None)


def write_pairs(pairs: Iterable[tuple[str, str]], files: Pair, what: str | None = None) -> int:
    """Write both files in step; returns how many pairs."""
    count = 0
    with ExitStack() as stack:
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
        outs = [stack.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in files]
        bar = stack.enter_context(progress(what or files[0].name))
        for pair in pairs:
            for out, line in zip(outs, pair):
                out.write(line + "\n")
            count += 1
            bar.update()
    return count
