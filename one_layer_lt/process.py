"""Commands of this project and of fairseq, each in a process of its own, by the Python that runs this one."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Callable, Optional

from .errors import UserError

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # prctl(2)
BEAT = 30.0  # seconds between two signs of life


class CommandFailed(UserError):
    """A command ended with a code. output: all that it said; said: its last error."""

    def __init__(self, name: str, code: int, output: bytes, log: Optional[Path]) -> None:
        self.output, self.said = output.decode("utf-8", "replace"), last_error(output) or "it said nothing"
        super().__init__(f"{name} ended with code {code}: {self.said}" + (f" (all of it: {log})" if log else ""))


def started_by(command: Sequence[str]) -> list[str]:
    """A command whose first word is ``python``, ``one-layer-lt`` or one of fairseq's, as this Python starts it."""
    name, *arguments = command
    if name == "python":
        return [sys.executable, *arguments]
    module = "one_layer_lt" if name == "one-layer-lt" else name.replace("fairseq-", "fairseq_cli.")
    return [sys.executable, "-m", module, *arguments]


def run(
    command: Sequence[str],
    *,
    log: Optional[Path] = None,
    each: Optional[Callable[[str], None]] = None,
    still: str = "",
    name: str = "",
    cwd: Optional[Path] = None,
    env: Optional[Mapping[str, str]] = None,
    inherits: Sequence[int] = (),
) -> str:
    """Run a command, as for ``started_by``, to its end; all that it puts out and complains.

    log: a file that this is added to. each: told of each line that is put out. still: what is logged every half minute.
    name: of the command, in messages. inherits: handles that it gets, and with them their locks. Raises
    ``CommandFailed``; however this ends, the command is not left running.
    """
    environment = {**(os.environ if env is None else env), "PYTHONIOENCODING": "utf-8"}  # as is read here
    with open(log, "ab+") if log else tempfile.TemporaryFile() as kept:
        start, out = kept.seek(0, os.SEEK_END), subprocess.PIPE if each else kept
        with subprocess.Popen(
            started_by(command),
            stdout=out,
            stderr=kept,
            cwd=cwd,
            env=environment,
            pass_fds=inherits,
            preexec_fn=ends_with_us(),
        ) as process:
            try:
                for line in process.stdout or ():
                    kept.write(line)
                    kept.flush()
                    if each:
                        each(line.decode("utf-8", "replace"))
                _wait(process, still)
            except BaseException:
                process.kill()
                raise
        kept.seek(start)
        said = kept.read()
    if process.returncode:
        raise CommandFailed(name or command[0], process.returncode, said, log)
    return said.decode("utf-8", "replace")


def ends_with_us() -> Optional[Callable[[], None]]:
    """For ``preexec_fn`` of ``subprocess``: Linux kills the program when the thread that started it ends in any way."""
    if sys.platform != "linux":
        return None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that
            os._exit(1)

    return tie


def last_error(output: bytes) -> str:
    """The last error that a program has put out, else its last line."""
    said = re.sub(r"^\[rank\d+\]: ", "", output.decode("utf-8", "replace"), flags=re.MULTILINE)  # torch's mark
    lines = [line.strip() for line in said.split("\n") if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b|([\w.-]+: )?error:", line)]
    return (errors or lines or [""])[-1]


def _wait(process: subprocess.Popen[bytes], still: str) -> None:
    while True:
        try:
            process.wait(BEAT if still else None)
            return
        except subprocess.TimeoutExpired:
            logger.info(still)
