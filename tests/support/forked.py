"""Commands of Python without another start of Python: a process that has imported the heavy packages forks for each.

Importing torch and fairseq takes seconds, and the tests start hundreds of commands. ``Popen`` starts a small client in
place of such a command: it has the command's descriptors, environment and folder, hands them on to the server, passes
signals on, and ends as the command does; so do the commands that a fork starts. What a fork could not show is started
as ever: see ``fits``.
"""

from __future__ import annotations

import array
import gc
import json
import logging
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, NoReturn

import torch

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    *("torch._dynamo", "torch._meta_registrations", "ctranslate2.converters", "matplotlib.pyplot", "sacrebleu"),
    *("sklearn.datasets", "tensorboardX", "fairseq.trainer", "fairseq.tasks.translation"),
    *("fairseq.dataclass.initialize", "fairseq.model_parallel.megatron_trainer", "fairseq.sequence_scorer"),
)
OURS = {"one_layer_lt", "fairseq_plugins", "scripts", "data_prep"}  # which the server has not imported
MODULES = ("fairseq_cli.", "one_layer_lt", "scripts.", "data_prep.", "tests.support.")
CODE = "import fairseq_cli."
SEEN_BY_IMPORTS = ("PYTHON", "LD_", "OMP_", "MALLOC_", "MKL_", *(["CUDA"] if torch.version.cuda else []))
THREADS = "OMP_NUM_THREADS"
CLIENT = r"""
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1])
os.set_inheritable(server.fileno(), False)
handles = [int(name) for name in os.listdir("/proc/self/fd") if int(name) != server.fileno()]
handles = [handle for handle in handles if os.path.exists(f"/proc/self/fd/{handle}")]
asked = {"arguments": sys.argv[2:], "environment": dict(os.environ), "folder": os.getcwd(), "handles": handles}
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda number, frame: server.sendall(bytes([number])))
text = json.dumps(asked).encode()
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handles))]
server.sendmsg([len(text).to_bytes(8, "big")], rights)
server.sendall(text)
code = int.from_bytes(server.recv(8), "big", signed=True)
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


class Popen(subprocess.Popen):
    """``subprocess.Popen`` that asks the server, whose socket ``server`` gives, for the commands that fit."""

    server: Callable[[], str]

    def _execute_child(self, args: Any, *rest: Any) -> None:
        if not isinstance(args, (str, bytes)) and not isinstance(args, os.PathLike):
            words = list(map(os.fspath, args))
            if fits(words, rest[4], rest[5]):
                args = [sys.executable, "-I", "-S", "-c", CLIENT, type(self).server(), *words[1:]]
        super()._execute_child(args, *rest)  # type: ignore[misc]


def fits(words: Sequence[str], folder: Any, environment: Any) -> bool:
    """Whether the command runs a module of ours or fairseq's, and nothing asks for other imports than the server's."""
    started = {"-m": MODULES, "-c": CODE}.get(words[1]) if len(words) > 2 and words[0] == sys.executable else None
    if started is None or not words[2].startswith(started):
        return False
    here = Path(folder or os.getcwd()).resolve()
    found = {path.stem for path in here.glob("*.py")} | {path.parent.name for path in here.glob("*/__init__.py")}
    if here != ROOT and found - OURS:
        return False  # they could hide packages
    environment = os.environ if environment is None else environment
    return _seen(environment) == _seen(os.environ) and (THREADS in environment or THREADS not in os.environ)


def _seen(environment: Any) -> dict[str, Any]:
    """What a fork could not follow; the number of threads it can."""
    apart = (THREADS, "PYTHONPATH", "PYTHONIOENCODING")
    seen = {key: value for key, value in environment.items() if key.startswith(SEEN_BY_IMPORTS) and key not in apart}
    return {**seen, "paths": [path for path in _paths(environment) if path != str(ROOT)]}


def _paths(environment: Any) -> list[str]:
    return [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]


def serve(address: str) -> NoReturn:
    """Fork for every client; ends with the process that started it, whose pipe is the standard input."""
    for name in HEAVY:
        import_module(name)
    gc.freeze()  # a collection in a fork would copy all memory
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{address}.new")
        listening.listen(64)
        os.rename(f"{address}.new", address)  # its sign that it is ready
        signal.signal(signal.SIGCHLD, _collect)  # were they ignored, their processor time would be counted nowhere
        while True:
            ready, _, _ = select.select([listening, 0], [], [])
            if 0 in ready:
                _collect()
                os._exit(0)
            client, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _attend(client, address)
            client.close()


def _collect(*_: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _attend(client: socket.socket, address: str) -> NoReturn:
    """Run what a client asks for in a fork, and tell the client how it ended."""
    length, rights, _, _ = client.recvmsg(8, socket.CMSG_SPACE(4 * 256))
    given = array.array("i")
    for _, _, data in rights:
        given.frombytes(data[: len(data) - len(data) % given.itemsize])
    text = b""
    while len(text) < int.from_bytes(length, "big"):
        text += client.recv(1 << 20)
    asked = json.loads(text)
    pid = os.fork()
    if pid == 0:
        client.close()
        Popen.server = staticmethod(lambda: address)
        subprocess.Popen = Popen  # type: ignore[misc]
        _become(asked, list(given))
    for handle in given:
        os.close(handle)
    ended = os.pidfd_open(pid)
    while True:
        ready, _, _ = select.select([client, ended], [], [])
        if ended in ready:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with suppress(OSError):
                client.sendall(code.to_bytes(8, "big", signed=True))
            os._exit(0)
        asks = client.recv(1)
        os.kill(pid, asks[0] if asks else signal.SIGKILL)
        if not asks:
            os._exit(0)


def _become(asked: dict[str, Any], given: list[int]) -> NoReturn:
    high = [os.dup2(handle, 512 + number, inheritable=True) for number, handle in enumerate(given)]
    os.closerange(0, 512)
    for handle, number in zip(high, asked["handles"]):
        os.dup2(handle, number, inheritable=True)
    os.closerange(512, 1024)
    before = _paths(os.environ)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.path[:] = [asked["folder"], *_paths(os.environ), *(path for path in sys.path[1:] if path not in before)]
    if THREADS in os.environ:
        torch.set_num_threads(int(os.environ[THREADS]))
    tempfile.tempdir = None
    finish(lambda: python(asked["arguments"]))


def finish(work: Callable[[], None]) -> NoReturn:
    """Do the work of a forked process, and end it as Python would."""
    code: Any = 0
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    logging.root.handlers.clear()  # of who forked
    for asking in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(asking, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        work()
    except SystemExit as leaving:
        code = leaving.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def python(arguments: Sequence[str]) -> None:
    """As the command line ``python ARGUMENTS``."""
    arguments = list(arguments)
    while arguments[0] == "-W":
        del arguments[:2]
    how, what, *rest = arguments
    if what == "fairseq_cli.generate":
        rest += ["--num-workers", "0"]  # its worker, forked in a thread of a forked process, would wait for ever
    sys.argv = [what, *rest]
    if how == "-m":
        if not hasattr(sys.modules.get(what), "__path__"):
            sys.modules.pop(what, None)  # runs anew, and sets up its log
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        sys.argv[0] = "-c"
        exec(what, {"__name__": "__main__"})


@contextmanager
def commands(folder: Path) -> Iterator[None]:
    """In this context commands that fit are forked, by a server that starts with the first of them."""
    real, servers, address = subprocess.Popen, [], str(folder / "server")

    def server() -> str:
        if not servers:
            start = [sys.executable, "-c", f"from tests.support.forked import serve; serve({address!r})"]
            servers.append(real(start, cwd=ROOT, stdin=subprocess.PIPE))
        while not os.path.exists(address) and servers[0].poll() is None:
            time.sleep(0.05)
        return address

    Popen.server = staticmethod(server)
    subprocess.Popen = Popen  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = real  # type: ignore[misc]
        for process in servers:
            process.stdin.close()
            process.wait()
