"""Archives of text and of images."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.hostile.engine import ACCEPTED, REFUSED, Case

NAMES = ("train.de", "train.en")
PICTURE = "train/cat/1.png"


def png(width: int, height: int) -> bytes:
    """A black picture, well compressed."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(1 + (width + 7) // 8)) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


TEXT = dict.fromkeys(NAMES, b"a b\n" * 9)
IMAGES = {f"{split}/{label}/1.png": png(2, 2) for split in ("train", "test") for label in ("cat", "dog")}


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.linkname = size, kind, link
    return entry


def tar(honest: dict[str, bytes], *odd: tuple[tarfile.TarInfo, bytes], ending: str = ".tar") -> Callable[[Path], Path]:
    """An archive of odd members, and then honest ones."""

    def make(folder: Path) -> Path:
        mode = {".tgz": "w:gz", ".tar.xz": "w:xz"}.get(ending, "w")
        with tarfile.open(folder / f"a{ending}", mode) as archive:  # type: ignore[call-overload]
            for entry, content in odd:
                archive.addfile(entry, io.BytesIO(content) if content else None)
            for name, content in honest.items():
                archive.addfile(member(name, len(content)), io.BytesIO(content))
        return folder / f"a{ending}"

    return make


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "a.zip", "w", method) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return folder / "a.zip"

    return make


def streamed(name: str, ending: str, size: int) -> Callable[[Path], Path]:
    """A tar of one member of zeros, packed block by block."""

    def make(folder: Path) -> Path:
        path = folder / f"a{ending}"
        with gzip.open(path, "wb", 1) if ending == ".tgz" else lzma.open(path, "wb", preset=0) as file:
            file.write(member(name, size).tobuf())
            for _ in range(size >> 20):
                file.write(bytes(1 << 20))
            file.write(bytes(1 << 10))
        return path

    return make


def padded(folder: Path) -> Path:
    """A tar that ends in 200 MB of zeros."""
    inner = tar(IMAGES)(folder).read_bytes()
    with gzip.open(folder / "a.tgz", "wb", 1) as file:
        file.write(inner)
        for _ in range(200):
            file.write(bytes(1 << 20))
    return folder / "a.tgz"


def headers(kind: bytes, count: int, size: int) -> bytes:
    """Headers that each say something of the next."""
    record = b"%d path=x\n"
    content = (b"12 comment=x" if kind == tarfile.XHDTYPE else b"x" * 12)[: size or 12]
    del record
    return (member("x", len(content), kind).tobuf() + content.ljust(512, b"\0")) * count


def raw(content: bytes, ending: str = ".tar") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / f"a{ending}").write_bytes(content)
        return folder / f"a{ending}"

    return make


def sparse(size: int) -> bytes:
    """A GNU sparse member of zeros."""
    header = bytearray(member(NAMES[0], 0, tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def text(path: Path) -> None:
    from data_prep.lib.archive import collect

    into = path.parent / "into"
    found = collect(path, [NAMES], into)
    assert set(found) == set(NAMES)
    assert all(into in file.parents for file in found.values())
    assert sum(file.stat().st_size for file in into.rglob("*") if file.is_file()) < 64 << 20


def images(path: Path) -> None:
    from one_layer_lt.vision.data import load

    load("folder", path)


def cases() -> list[Case]:
    found: list[Case] = []
    kinds = {"a symbolic link": tarfile.SYMTYPE, "a hard link": tarfile.LNKTYPE, "a device": tarfile.CHRTYPE}
    kinds |= {"a pipe": tarfile.FIFOTYPE, "a disk": tarfile.BLKTYPE}
    for honest, odd, read, climbs in ((TEXT, NAMES[0], text, ACCEPTED), (IMAGES, PICTURE, images, REFUSED)):
        of = "text" if read is text else "images"
        some = {name: content for name, content in honest.items() if name != odd}
        for what, kind in kinds.items():
            entry = member(odd, 0, kind, "../secret"), b""
            found.append(Case(f"{of}: {what} in place of a file", tar(some, entry), read))
            found.append(Case(f"{of}: {what} before a file", tar(honest, entry), read, climbs))
        for name in (f"../{odd}", f"/{odd}", f"x/../../{odd}", f"\x1b[2J/../{odd}"):
            entry = member(name, 4), b"a b\n"
            found.append(Case(f"{of}: a tar's member {name!r}", tar(honest, entry), read, climbs))
            found.append(Case(f"{of}: a zip's member {name!r}", zipped({name: b"a b\n", **honest}), read, climbs))
        for ending in (".tgz", ".tar.xz"):
            found.append(
                Case(f"{of}: zeros in {ending}", streamed(odd, ending, 256 << 20), read, slow=ending != ".tgz")
            )
            found.append(
                Case(f"{of}: zeros beside, {ending}", streamed("x", ending, 256 << 20), read, slow=ending == ".tgz")
            )
        found += [
            Case(f"{of}: zeros in a zip", zipped({odd: bytes(100 << 20)}), read),
            Case(f"{of}: a zip by lzma", zipped({odd: bytes(100 << 20), **some}, zipfile.ZIP_LZMA), read),
            Case(f"{of}: a zip by bzip2", zipped({**some, odd: b"a"}, zipfile.ZIP_BZIP2), read),
            Case(
                f"{of}: a member of an exabyte", raw(member(odd, 1 << 60).tobuf(tarfile.GNU_FORMAT) + bytes(1024)), read
            ),
            Case(f"{of}: a negative size", raw(_negative(odd) + bytes(1024)), read),
            Case(f"{of}: 5,000 headers of headers", raw(headers(tarfile.XHDTYPE, 5000, 0) + bytes(1024)), read),
            Case(f"{of}: 5,000 long names", raw(headers(tarfile.GNUTYPE_LONGNAME, 5000, 0) + bytes(1024)), read),
            Case(
                f"{of}: a long name of 4 GiB",
                raw(member("x", 1 << 32, tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT)),
                read,
            ),
            Case(f"{of}: a sparse member of a terabyte", raw(sparse(1 << 40)), read),
            Case(f"{of}: noise", raw(bytes(range(256)) * 40, ".tgz"), read),
            Case(f"{of}: an empty file", raw(b"", ".tar.xz"), read),
        ]
    found.append(Case("images: a tar that goes on in zeros", padded, images))
    found.append(Case("images: a picture of 80 million pixels", tar({**IMAGES, PICTURE: png(9000, 9000)}), images))
    found.append(Case("images: a picture of 2^62 pixels", tar({**IMAGES, PICTURE: png(2**31 - 1, 0)}), images))
    return found


def _negative(name: str) -> bytes:
    header = bytearray(member(name).tobuf())
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)
