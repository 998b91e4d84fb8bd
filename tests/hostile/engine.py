"""Runs each case in a process of its own, bounded in memory and time, and says what came of it.

Everything that is read has been imported before, so that a process costs a fork, and its memory is what reading took.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, NoReturn, Optional

from one_layer_lt import load_ticket, terminal

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "tickets"
CONSTANT = 256 << 20  # bytes for the interpreter, and what libraries load as they are used
SECONDS = 10  # of the processor
_HARD = 2 << 30  # bytes of addresses above those before: what would take more fails
_WALL = 120  # seconds after which a process that waits for something is ended
REFUSED, ACCEPTED = "refused", "accepted"
_SECRET = "of nobody's business"


@dataclass(frozen=True)
class Case:
    """A hostile file, and who reads it.

    make: writes the file into a folder, and returns its path. read: what reads it, in that folder, raising
    ``UserError`` where it refuses; it may return how many of several files it tried and refused. outcome: which one it
    must come to; None: either. honest: bytes of memory that an honest file of this kind takes. slow: only in the long
    run.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    outcome: Optional[str] = REFUSED
    honest: int = 0
    slow: bool = False


@dataclass
class Found:
    """What a case came to. wrong: what it must not have done."""

    case: str
    outcome: str
    said: str
    seconds: float
    memory: int
    tried: int = 1
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


def run(case: Case) -> Found:
    """Make the file, and read it in another process."""
    with tempfile.TemporaryDirectory(prefix="hostile.") as scratch:
        outside, box = Path(scratch), Path(scratch, "box")
        box.mkdir()
        (outside / "secret").write_text(_SECRET)
        file = case.make(box)
        with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryFile("w+") as counts:

            def read() -> None:
                result: list[Any] = []
                try:
                    terminal.run(lambda: result.append(case.read(file)), ValueError)
                finally:
                    if result and isinstance(result[0], tuple):
                        counts.write("{} {}".format(*result[0]))

            done = _forked(read, box, log, counts)
            found = _found(case, done, log)
            counts.seek(0)
            if several := counts.read().split():
                found.tried, found.refused = map(int, several)
        if found.memory > CONSTANT + 2 * case.honest:
            found.wrong.append(f"took {found.memory >> 20} MiB")
        if sorted(path.name for path in outside.iterdir()) != ["box", "secret"]:
            found.wrong.append("wrote outside its folder")
        elif (outside / "secret").read_text() != _SECRET:
            found.wrong.append("wrote into another file")
        if any(path.name == "trace" for path in box.rglob("*")):
            found.wrong.append("ran what the file holds")
        return found


@dataclass(frozen=True)
class _Ended:
    """memory: bytes of its own above those that it was forked with, at most; files that are mapped do not count."""

    code: int
    seconds: float
    memory: int


def _forked(what: Callable[[], Any], folder: Path, log: Any, answer: Any) -> _Ended:
    """Call in a forked process, whose words go to ``log``."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = most = _own_memory(os.getpid())
    child = os.fork()
    if child == 0:
        _child(what, folder, log, answer)
    deadline = time.monotonic() + _WALL
    while True:
        pid, status, used = os.wait4(child, os.WNOHANG)
        if pid:
            break
        most = max(most, _own_memory(child))
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(status)
    return _Ended(code, used.ru_utime + used.ru_stime, most - before)


def _own_memory(process: int) -> int:
    """Its anonymous memory, in bytes; 0 once it has ended."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def _child(what: Callable[[], Any], folder: Path, log: Any, answer: Any) -> NoReturn:
    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        sys.stdin = open(os.devnull)  # noqa: SIM115
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + _HARD
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
        what()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
            answer.flush()
        os._exit(code)


def _found(case: Case, done: _Ended, log: Any) -> Found:
    log.seek(0)
    said = log.buffer.read().decode("utf-8", "replace")
    outcome = {0: ACCEPTED, 2: REFUSED}.get(done.code, f"ended by {done.code}")
    found = Found(case.name, outcome, said[-3000:], done.seconds, done.memory, refused=int(outcome == REFUSED))
    if outcome not in (ACCEPTED, REFUSED) or case.outcome not in (None, outcome):
        found.wrong.append(f"{outcome}, not {case.outcome or 'refused or accepted'}")
    if done.code in (-signal.SIGXCPU, -signal.SIGKILL):
        found.wrong.append(f"took more than {SECONDS} s")
    errors = re.findall(r"^error: .*$", said, re.MULTILINE)
    if outcome == REFUSED and (len(errors) != 1 or len(errors[0]) > 5000):
        found.wrong.append("was not refused in one line")
    if re.search("more memory than there is|can't allocate|Unable to allocate|MemoryError", said):
        found.wrong.append("asked for all memory")
    if any(not (letter.isprintable() or letter in "\n\t\r") for letter in said):
        found.wrong.append("wrote control characters")
    return found


def prepare() -> None:
    """Import what will read: the processes that are forked start with it."""
    for name in ("data_prep.corpus", "fairseq_plugins.checkpoints", "fairseq_plugins.ticket", "scripts.study"):
        import_module(name)
    for kind in ("translation-moses-bpe", "translation-sentencepiece", "vision"):
        load_ticket(GOLDEN / f"{kind}.ticket").model()
    gc.freeze()  # a collection in a fork would copy all memory
