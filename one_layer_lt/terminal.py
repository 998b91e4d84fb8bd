"""How our command lines end: one line that says what to mend, and a code."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click


def run(command: click.Command) -> NoReturn:
    """Run a command: exit 0 when done, 2 with one line on what to mend, 130 when interrupted.

    Without arguments it prints its help.
    """
    try:
        command(sys.argv[1:] or ["--help"], standalone_mode=False)
    except click.ClickException as error:
        _stop(error.format_message(), 2)
    except BrokenPipeError:  # whoever reads the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _stop(f"{error.filename or 'system'}: {error.strerror or error}", 2)
    except (ValueError, MemoryError) as error:
        _stop(str(error) or type(error).__name__, 2)
    except (KeyboardInterrupt, click.Abort):
        _stop("interrupted", 130)
    sys.exit(0)


def _stop(message: str, code: int) -> NoReturn:
    shown = "".join(letter if letter.isprintable() else " " for letter in message)  # a file's words may be in it
    print("error: " + " ".join(shown.split()), file=sys.stderr)
    sys.exit(code)
