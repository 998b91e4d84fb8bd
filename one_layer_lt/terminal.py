"""How our command lines end: one line that says what to mend, and a code."""

from __future__ import annotations

import logging
import os
import sys
from typing import Callable, NoReturn

from .errors import UserError


def run(main: Callable[[], object], mendable: type[Exception] = UserError) -> NoReturn:
    """Run a program: exit 0 when done, 2 with one line on what the user can mend, 130 when interrupted.

    mendable: what errors those are, beside the system's. Any other is a bug of ours: its traceback, and 1.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s | %(message)s", datefmt="%H:%M:%S")
    try:
        main()
    except BrokenPipeError:  # whoever reads the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # a full disk, a folder that may not be written
        stop(f"{error.filename or 'system'}: {error.strerror or error}", 2)
    except (mendable, MemoryError) as error:
        stop(str(error) or type(error).__name__, 2)
    except KeyboardInterrupt:
        stop("interrupted: run the same command again", 130)
    sys.exit(0)


def stop(message: str, code: int) -> NoReturn:
    """Leave with one line on stderr."""
    shown = "".join(letter if letter.isprintable() else " " for letter in message)  # a file's words may be in it
    print("error: " + " ".join(shown.split()), file=sys.stderr)
    sys.exit(code)
