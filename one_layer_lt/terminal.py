"""How our command lines end: one line that says what to mend, and a code."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from typing import Callable, NoReturn

from .errors import UserError

_AGAIN = "and run the same command again"
_MENDS = {
    errno.ENOSPC: f"make room on the disk, {_AGAIN}",
    errno.EDQUOT: f"make room within your quota, {_AGAIN}",
    errno.EFBIG: f"raise the limit of `ulimit -f`, {_AGAIN}",
    errno.EROFS: "name another place",
    errno.EACCES: "change its rights, or name another place",
}


def run(main: Callable[[], object], mendable: type[Exception] = UserError) -> NoReturn:
    """Run a program: exit 0 when done, 2 with one line on what the user can mend, 130 when interrupted.

    mendable: what errors those are, beside the system's. Any other is a bug of ours: its traceback, and 1.
    """
    _prepare()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s | %(message)s", datefmt="%H:%M:%S")
    try:
        main()
        sys.stdout.flush()  # here, where what goes wrong still has a line to be told in
    except BrokenPipeError:  # whoever reads the output has had enough
        _flushed()
        sys.exit(0)
    except OSError as error:  # a full disk, a folder that may not be written
        where = "system" if _flushed() else "standard output"
        stop(of_system(error, where), 2)
    except (mendable, MemoryError) as error:
        stop(str(error) or type(error).__name__, 2)
    except KeyboardInterrupt:
        stop("interrupted: run the same command again", 130)
    sys.exit(0)


def of_system(error: OSError, where: str = "system") -> str:
    """What the system says, of which file, else of ``where``, and what to do about it."""
    mend = _MENDS.get(error.errno or 0, "")
    return f"{error.filename or where}: {error.strerror or error}{mend and f': {mend}'}"


def _prepare() -> None:
    """Text goes out as UTF-8 whatever the locale is, and names of files by the bytes that they are of.

    Python has no stream where the descriptor is closed. The next file to be opened would get its number, and with it
    whatever other programs print.
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  for as long as the program runs
    if sys.stdout is None:
        stop("standard output is closed: leave it open, or send it to a file or to /dev/null", 2)
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)


def _flushed() -> bool:
    """Whether standard output takes what is still to be printed; else that goes nowhere, or Python would complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def stop(message: str, code: int) -> NoReturn:
    """Leave with one line on stderr."""
    shown = "".join(letter if letter.isprintable() else " " for letter in message)  # a file's words may be in it
    print("error: " + " ".join(shown.split()), file=sys.stderr)
    sys.exit(code)
