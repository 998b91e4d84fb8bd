"""Parallel text, and the description of a prepared folder."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

from tests.hostile.engine import ACCEPTED, REFUSED, Case

WORDS = [bytes(97 + number * step % 26 for step in (1, 3, 7, 11)) for number in range(1, 90)]
HONEST = b"".join(b"%s %s\n" % (WORDS[number % 89], WORDS[number * 7 % 89]) for number in range(400))


def side(content: bytes, other: bytes | None = None) -> Callable[[Path], Path]:
    """A folder of six files, of which one is odd."""

    def make(folder: Path) -> Path:
        for split in ("train", "valid", "test"):
            for language in ("de", "en"):
                (folder / f"{split}.{language}").write_bytes(HONEST)
        (folder / "train.de").write_bytes(content)
        lines = content.count(b"\n") + (not content.endswith(b"\n"))
        (folder / "train.en").write_bytes((HONEST.splitlines()[0] + b"\n") * lines if other is None else other)
        return folder

    return make


def packed(block: bytes, times: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        side(HONEST)(folder)
        with gzip.open(folder / "train.de", "wb", 1) as file:
            for _ in range(times):
                file.write(block)
        return folder

    return make


def text(folder: Path) -> None:
    """Read and tidied, as every recipe begins."""
    from data_prep.lib.pipeline import _tidied
    from one_layer_lt.text.lines import read_lines, write_pairs

    out = folder / "out.de", folder / "out.en"
    written = write_pairs(_tidied((folder / "train.de", folder / "train.en"), "train"), out)
    for path in out:
        lines = list(read_lines(path))
        assert len(lines) == written
        assert all(line == " ".join(line.split()) and line.isprintable() for line in lines if "\u200d" not in line)


def prepared(folder: Path) -> None:
    """The whole recipe, as `data_prep/corpus.sh` runs it."""
    import sys

    from data_prep import corpus

    sys.argv = ["corpus", "--from", str(folder), "--source", "de", "--target", "en", "--size", "50"]
    sys.argv += ["--out", str(folder / "made")]
    corpus.main()


def described(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "data.json").write_bytes(content)
        return folder

    return make


def manifest(folder: Path) -> None:
    from one_layer_lt.text.manifest import Manifest

    Manifest.read(folder)


def cases() -> list[Case]:
    odd: list[tuple[str, Callable[[Path], Path], str | None]] = [
        ("NUL bytes", side(HONEST + b"a\0b\n\0\n" * 50), ACCEPTED),
        ("a line of 64 MB", side(HONEST + b"a" * (64 << 20)), REFUSED),
        ("a line of 256 MB, compressed", packed(b"a" * (1 << 20), 256), REFUSED),
        ("256 MB of empty lines, compressed", packed(b"\n" * (1 << 20), 256), REFUSED),
        ("a word of 900 kB", side(HONEST + b"a" * 900_000 + b"\n"), None),
        ("no UTF-8", side(HONEST + b"\xff\xfe\n"), REFUSED),
        ("half a letter", side(HONEST + b"\xe2\x82"), REFUSED),
        ("half of a pair", side(HONEST + b"\xed\xa0\x80\n"), REFUSED),
        ("UTF-16", side("a b\n".encode("utf-16") * 50), REFUSED),
        (
            "mixed ends of lines",
            side(b"a\rb\r\n\xe2\x80\xa8c\x0bd\x0c\x85\n".replace(b"\x85", b"\xc2\x85") * 99 + HONEST),
            ACCEPTED,
        ),
        ("a byte order mark", side(b"\xef\xbb\xbf" + HONEST), ACCEPTED),
        ("byte order marks throughout", side(b"\xef\xbb\xbfa\xef\xbb\xbf b\n" * 99 + HONEST), ACCEPTED),
        ("a million empty lines", side(b"\n" * 10**6 + HONEST), ACCEPTED),
        ("nothing", side(b"", b""), None),
        ("one side longer", side(HONEST, b"a\n" * 7), REFUSED),
        ("escapes for terminals", side(b"\x1b[2J\x07 a\x1b]0;x\x07 b\n\xc2\x9b31m c\n" * 99 + HONEST), ACCEPTED),
        (
            "names of subwords and of fairseq",
            side(b"<s> </s> <unk> <pad> \xe2\x96\x81 @@ #fairseq:overwrite\n" * 99 + HONEST),
            ACCEPTED,
        ),
        ("a gzip file that is cut", side(gzip.compress(HONEST * 9)[:60], HONEST), REFUSED),
        ("a gzip file of gzip files", side(gzip.compress(gzip.compress(HONEST)), HONEST), REFUSED),
    ]
    whole = {"NUL bytes", "a word of 900 kB", "mixed ends of lines", "nothing", "escapes for terminals"}
    whole |= {"names of subwords and of fairseq", "byte order marks throughout"}
    found = [
        Case(name, make, text, ACCEPTED if name == "nothing" else outcome, slow="million" in name)
        for name, make, outcome in odd
    ]
    for name, make, _ in odd:
        if name in whole:
            outcome = REFUSED if name == "nothing" else None if name.startswith("a word") else ACCEPTED
            found.append(Case(f"{name}, prepared", make, prepared, outcome, slow=True))
    for name, content in {
        "a description nested 100,000 deep": b"[" * 100_000,
        "a description that is no UTF-8": b"\xff",
        "a description of odd types": b'{"format": 1, "settings": 3, "corpus": [], "source": {}}',
        "a description of a huge number": b'{"format": ' + b"9" * 10_000 + b"}",
    }.items():
        found.append(Case(name, described(content), manifest))
    return found
