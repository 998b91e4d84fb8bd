"""Pairs of sentences out of two parallel files, tab-separated values, or a translation memory (TMX)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from one_layer_lt.errors import UserError
from one_layer_lt.text.lines import LONGEST, check_gzip, open_binary, read_lines, read_pairs

CODES = ("bpt", "ept", "it", "ph", "ut")  # in TMX: what these hold is another program's mark-up


def read_parallel(origin: Sequence[Path], source: str, target: str) -> Iterator[tuple[str, str]]:
    """Every pair of two files, or of one: .tmx is a translation memory, and anything else holds columns.

    A side that is missing is empty. Raises ``UserError`` for what is none of these, or lacks a language.
    """
    if len(origin) == 2:
        return read_pairs((origin[0], origin[1]))
    (path,) = origin
    is_tmx = path.name.lower().removesuffix(".gz").endswith(".tmx")
    return (_read_tmx if is_tmx else _read_columns)(path, source, target)


def _read_columns(path: Path, source: str, target: str) -> Iterator[tuple[str, str]]:
    """The first two columns, or those that the first line heads with the languages' codes."""
    columns = 0, 1
    for number, line in enumerate(read_lines(path), 1):
        cells = line.split("\t")
        if number == 1:
            if len(cells) == 1:
                raise UserError(f"{path}: line 1 has no tab: give a TSV, a TMX, two parallel files, or a folder of six")
            heads = [cell.strip().lower() for cell in cells]
            if source.lower() in heads and target.lower() in heads:
                columns = heads.index(source.lower()), heads.index(target.lower())
                continue
        left, right = (cells[column] if column < len(cells) else "" for column in columns)
        yield left, right


def _read_tmx(path: Path, source: str, target: str) -> Iterator[tuple[str, str]]:
    reader, whole = _Reader(path, source, target), False
    try:
        with open_binary(path) as file:
            check_gzip(path, file)
            while block := file.read(1 << 16):
                reader.parser.Parse(block, False)
                whole |= any(map(all, reader.pairs))
                yield from reader.pairs
                reader.pairs.clear()
            reader.parser.Parse(b"", True)
    except UserError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two: of the declared encoding
        raise UserError(f"{path} is not well-formed XML: {error}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: gzip file cut short or damaged: get it again") from error
    if not whole:
        has = f"it has {', '.join(sorted(reader.codes)[:20])}" if reader.codes else "it names no language"
        raise UserError(f"{path} holds no text in both {source} and {target}: {has}")


class _Reader:
    """Expat's handlers. pairs: those read so far. codes: of the languages met. No entity is declared, none expanded."""

    def __init__(self, path: Path, *languages: str) -> None:
        self.path, self.languages = path, [language.lower().replace("_", "-") for language in languages]
        self.pairs: list[tuple[str, str]] = []
        self.codes: set[str] = set()
        self._unit: dict[int, str] = {}  # 0: source, 1: target
        self._side = -1
        self._text: list[str] | None = None  # of the segment that is open
        self._length = 0
        self._within = 0  # how many elements of codes are open
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.EntityDeclHandler = self._refuse

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "tu":
            self._unit = {}
        elif name == "tuv":
            code = attributes.get("xml:lang", attributes.get("lang", "")).lower().replace("_", "-")
            self.codes |= {code} if code and len(self.codes) < 1000 else set()
            sides = (side for side, wanted in enumerate(self.languages) if (code + "-").startswith(wanted + "-"))
            self._side = next(sides, -1)
        elif name == "seg":
            self._text, self._length, self._within = [], 0, 0
        elif name in CODES:
            self._within += 1

    def _end(self, name: str) -> None:
        if name == "seg" and self._text is not None:
            if self._side >= 0:
                self._unit.setdefault(self._side, "".join(self._text))
            self._text = None
        elif name in CODES:
            self._within -= 1
        elif name == "tu" and self._unit:
            self.pairs.append((self._unit.get(0, ""), self._unit.get(1, "")))

    def _characters(self, text: str) -> None:
        if self._text is None or self._within:
            return
        self._text.append(text)
        self._length += len(text)
        if self._length > LONGEST:
            line = self.parser.CurrentLineNumber
            raise UserError(f"{self.path}: the segment in line {line} has more than {LONGEST:,} letters")

    def _refuse(self, name: str, *_: object) -> NoReturn:
        raise UserError(f"{self.path} declares the entity {name!r}, as no translation memory needs: remove it")
