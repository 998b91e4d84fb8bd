"""Parallel text of every shape, and what may be wrong with it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from data_prep.lib.parallel import read_parallel
from one_layer_lt.errors import UserError

from .conftest import write

UNIT = "<tu><tuv {0}='de-DE'><seg>{1}</seg></tuv><tuv {0}='EN_us'><seg>{2}</seg></tuv></tu>"


def tmx(folder: Path, *units: str, head: str = '<?xml version="1.0"?>', name: str = "my.tmx") -> Path:
    path = folder / name
    path.write_text(f"{head}<tmx version='1.4'><header srclang='de'/><body>{''.join(units)}</body></tmx>")
    return path


def read(*files: Path) -> list[tuple[str, str]]:
    return list(read_parallel(files, "de", "en"))


def test_two_files(tmp_path: Path) -> None:
    files = write(tmp_path / "a.gz", ["Hund", "Katze"]), write(tmp_path / "b.txt", ["dog", "cat"])
    assert read(*files) == [("Hund", "dog"), ("Katze", "cat")]


def test_columns(tmp_path: Path) -> None:
    bare = write(tmp_path / "a.tsv", ["Hund\tdog\tCC-BY", "Katze", "\tcat"])
    assert read(bare) == [("Hund", "dog"), ("Katze", ""), ("", "cat")]
    headed = write(tmp_path / "b.tsv.gz", ["id\tEN\tde", '1\tthe "dog\tder Hund'])
    assert read(headed) == [("der Hund", 'the "dog')]
    with pytest.raises(UserError, match="line 1 has no tab: give a TSV, a TMX"):
        read(write(tmp_path / "c.txt", ["Hund"]))


def test_a_memory(tmp_path: Path) -> None:
    """Regions, the attribute of old, entities of XML's own, mark-up, further languages, and units that lack one."""
    units = [
        UNIT.format("xml:lang", "Hund &amp; <hi>Katze</hi>", "dog <bpt i='1'>&lt;b&gt;</bpt>and<ept>x</ept>\n cat"),
        UNIT.format("lang", "alt", "old"),
        "<tu><tuv xml:lang='den'><seg>Dene</seg></tuv><tuv xml:lang='en'><seg>alone</seg></tuv></tu>",
        "<tu><tuv xml:lang='fr'><seg>chien</seg></tuv></tu>",
    ]
    path = tmx(tmp_path, *units, head='<?xml version="1.0"?><!DOCTYPE tmx SYSTEM "tmx14.dtd">')
    assert read(path) == [("Hund & Katze", "dog and\n cat"), ("alt", "old"), ("", "alone")]
    packed = tmp_path / "my.TMX.gz"
    packed.write_bytes(gzip.compress(path.read_text().replace("1.0", '1.0" encoding="utf-16', 1).encode("utf-16")))
    assert read(packed) == read(path)


@pytest.mark.parametrize(
    "declared",
    ['<!ENTITY a "aaaa">', '<!ENTITY a SYSTEM "file:///etc/passwd">', '<!ENTITY % a SYSTEM "http://127.0.0.1/x"> %a;'],
)
def test_entities_are_refused(tmp_path: Path, declared: str) -> None:
    path = tmx(tmp_path, UNIT.format("xml:lang", "&a;", "x"), head=f"<!DOCTYPE tmx [{declared}]>")
    with pytest.raises(UserError, match=r"my\.tmx declares the entity 'a'"):
        read(path)


def test_other_flaws_of_a_memory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no text in both de and en: it has de-de, fr"):
        read(tmx(tmp_path, "<tu><tuv xml:lang='de-DE'><seg>x</seg></tuv><tuv xml:lang='fr'><seg>x</seg></tuv></tu>"))
    with pytest.raises(UserError, match="it names no language"):
        read(tmx(tmp_path))
    for broken in ("<tu>", "&undeclared;"):
        with pytest.raises(UserError, match=r"not well-formed XML: .*line 1"):
            read(tmx(tmp_path, UNIT.format("lang", "x", "y"), broken))
    with pytest.raises(UserError, match="not well-formed XML: "):
        read(tmx(tmp_path, head='<?xml version="1.0" encoding="no-such"?>'))
    with pytest.raises(UserError, match="line 1 has more than 1,048,576 letters"):
        read(tmx(tmp_path, UNIT.format("lang", "x" * (1 << 20) + "x", "y")))
    (tmp_path / "cut.tmx.gz").write_bytes(gzip.compress(b"<tmx>" + bytes(range(256)))[:-12])
    with pytest.raises(UserError, match=r"cut\.tmx\.gz: gzip file cut short"):
        read(tmp_path / "cut.tmx.gz")
