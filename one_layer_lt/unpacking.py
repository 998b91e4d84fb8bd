"""What archives that nobody has vouched for may unpack to."""

from __future__ import annotations

import tarfile
from pathlib import Path

from .errors import UserError

_ANY_FILE = 16 << 20  # bytes that whatever small file may unpack to
_A_BYTE = 100  # and for each of its bytes: text unpacks to 3 to 10, pictures to 1
_EXTRA = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_MOST_EXTRA = 1 << 20  # bytes of a member's long name or attributes


def check_unpacked(path: Path, size: int) -> None:
    """Raises ``UserError`` where the file unpacks to ``size`` bytes or more, and that is too much for what it is."""
    stored = path.stat().st_size
    if size > _ANY_FILE + _A_BYTE * stored:
        raise UserError(
            f"{path} is of {stored:,} bytes and unpacks to {size:,} or more, as no honest one does: unpack it yourself "
            "if you trust it, and name the folder"
        )


class TarHeader(tarfile.TarInfo):
    """A tar header. Where tarfile would take a damaged or missing one for the end of the archive, this raises."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> TarHeader:
        if len(buf) == tarfile.BLOCKSIZE and not any(buf):
            return super().frombuf(buf, encoding, errors)  # which says that this is the end
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.TarError as error:
            raise tarfile.ReadError(str(error)) from error
        if header.size < 0 or (header.type in _EXTRA and header.size > _MOST_EXTRA):
            raise tarfile.ReadError("a header of impossible size")
        return header
