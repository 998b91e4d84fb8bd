"""Commands as processes that are forked from this one: what they import is here already, so that a kill hits the work.

The programs that they start are forked in the same way, with the descriptors and the ties that they would have had.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Optional

from tests.support import forked
from tests.support.forked import finish, python

POLL = 0.001  # seconds
HEAVY = (
    *forked.HEAVY,
    *("one_layer_lt.cli.convert", "one_layer_lt.cli.vision"),
    *("data_prep.corpus", "fairseq_cli.generate", "fairseq_cli.preprocess", "fairseq_cli.train", "scripts.sweep"),
    *(f"fairseq_plugins.commands.{name}" for name in ("distil", "embeddings", "export", "prune", "score")),
)


def load() -> None:
    """Import what the commands take long to import."""
    for name in HEAVY:
        import_module(name)


class Forked(subprocess.Popen):
    """``Popen`` that runs Python's modules without another start of Python."""

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, *rest: Any
    ) -> None:
        cwd, env, _, _, _, *pipes = rest[:11]
        if args[0] != sys.executable:
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, *rest)
            return
        self.pid = os.fork()
        if self.pid:
            self._child_created = True
            self._close_pipe_fds(*pipes)
            return
        for number, handle in enumerate((pipes[0], pipes[3], pipes[5])):
            if handle != -1:
                os.dup2(handle, number)
        _close_all(pass_fds)
        os.environ.update(env or {})
        os.chdir(cwd or ".")
        if preexec_fn:
            preexec_fn()
        finish(lambda: python(args[1:]))


def start(words: Sequence[str], folder: Path, before: Optional[Callable[[], None]] = None) -> int:
    """Run ``MODULE ARGUMENT...`` in ``folder``; returns its process. What it says goes to ``folder.log``."""
    pid = os.fork()
    if pid:
        return pid
    said = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(said, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _close_all()
    os.chdir(folder)
    subprocess.Popen = Forked  # type: ignore[misc]

    def work() -> None:
        if before:
            before()
        python(["-m", *words])

    return finish(work)


def cost(pid: int, limit: float = float("inf")) -> tuple[float, set[int]]:
    """Wait until a process has ended, or it and those it started have computed for ``limit`` seconds; with their ids.

    Time on a processor, and not on a clock: what else the machine does should not matter.
    """
    spent: dict[int, int] = {}
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        for process in _family(pid):
            spent[process] = max(spent.get(process, 0), _nanoseconds(process))
        if sum(spent.values()) * 1e-9 >= limit:
            break
        time.sleep(POLL)
    return sum(spent.values()) * 1e-9, set(spent)


def kill(pid: int) -> bool:
    """kill -9; whether it came before the end."""
    os.kill(pid, signal.SIGKILL)
    return end(pid) == -signal.SIGKILL


def end(pid: int) -> int:
    """Its exit code; minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def left(processes: set[int], patience: float = 10) -> int:
    """How many of these still run after a while."""
    until = time.monotonic() + patience
    while (alive := sum(map(_lives, processes))) and time.monotonic() < until:
        time.sleep(0.01)
    return alive


def _close_all(but: Sequence[int] = ()) -> None:
    for handle in set(range(3, 1024)) - set(but):
        with suppress(OSError):
            os.close(handle)


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def _nanoseconds(pid: int) -> int:
    total = 0
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
