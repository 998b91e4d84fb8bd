"""Train on several CPU processes as one: starts a fairseq-train for each, which exchange gradients over gloo.

    one-layer-lt launch --processes 2 -- data-bin/multi30k.de-en --user-dir fairseq_plugins --arch ...
    one-layer-lt launch --processes 2 --nodes 4 --node-rank 0 --master 10.0.0.1:29500 -- data-bin/...

What follows the lone `--` goes to fairseq-train as it is. N processes make one update from N batches of up to
--max-tokens each, so that an epoch has one N-th of the updates. They divide the threads of OMP_NUM_THREADS, or the
processors, among them. Several nodes: the same command on each, with its own --node-rank.

This is for CPUs. On GPUs fairseq does it all by itself: plain fairseq-train starts one process a GPU, and several nodes
take torchrun or fairseq's --distributed-* flags (docs/scaling.md).
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Optional

from ..errors import UserError
from ..optional import need
from ..process import ends_with_us, last_error, started_by
from ..terminal import stop
from .parser import Parser, count

OURS = ("--distributed-", "--ddp-backend")  # flags that are given to fairseq-train here
POLL = 0.1  # seconds between two looks at the ranks
SETTLE = 2.0  # seconds after a failure in which the rank that began it may still be closing down
PATIENCE = 10.0  # seconds that a rank has to end when told to
# What a rank says when another one has gone: it is not the one to blame.
BEREFT = re.compile(r"connection (closed|reset|refused)|broken pipe|timed out", re.IGNORECASE)


@dataclass
class Rank:
    """One running fairseq-train. ``output`` is None for the one whose output is shown as it comes."""

    number: int
    process: subprocess.Popen[bytes]
    output: Optional[IO[bytes]]

    def complaint(self) -> str:
        """The last error in the output of a rank that has ended, else its last line; empty where nothing was kept."""
        if self.output is None:
            return ""
        self.output.seek(0)
        return last_error(self.output.read())

    def blame(self) -> int:
        """How likely the rank began the failure, the likeliest being the lowest."""
        if self.process.returncode == -signal.SIGKILL:  # for want of memory: no rank does this to another
            return 0
        if self.output is None:  # it may have said anything
            return 2
        return 3 if BEREFT.search(self.complaint()) else 1

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the rank and to the workers that load its data."""
        with suppress(ProcessLookupError, PermissionError):  # gone already; macOS says the latter
            os.killpg(self.process.pid, number)


def rank_commands(
    arguments: Sequence[str], processes: int, nodes: int, node_rank: int, master: str
) -> dict[int, list[str]]:
    """Rank -> fairseq-train's command, for this node's ranks."""
    command = started_by(["fairseq-train", *arguments, "--cpu", "--distributed-no-spawn"])
    # Of fairseq's wrappers only this one takes modules on CPU. Without a world size each rank would train by itself.
    command += ["--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp"]
    command += ["--distributed-init-method", f"tcp://{master}", "--distributed-world-size", str(processes * nodes)]
    first = node_rank * processes
    return {rank: [*command, "--distributed-rank", str(rank)] for rank in range(first, first + processes)}


def environment(processes: int, nodes: int) -> dict[str, str]:
    """The environment of each rank: its share of the threads, no GPU, and on one node no network."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    given = int(threads) if threads.isdecimal() else _processors()
    made = {**os.environ, "OMP_NUM_THREADS": str(max(1, given // processes))}
    made["CUDA_VISIBLE_DEVICES"] = ""  # fairseq greets the others by way of a GPU that it sees, --cpu or not
    if nodes == 1 and sys.platform == "linux":
        # Otherwise gloo takes the address that the host's name resolves to, which on a laptop may be out of reach.
        made.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return made


def free_port() -> int:
    """A port on this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def train(commands: dict[int, list[str]], env: dict[str, str], logs: Optional[Path] = None) -> None:
    """Run all ranks to their end; none is left running, whichever way it ends.

    Leaves the program with one line and a code when a rank fails, or a signal asks to stop.

    logs: folder for the output of all but the first rank, which is shown as it comes; default: not kept.
    """
    asked: list[int] = []

    def note(number: int, frame: Optional[FrameType]) -> None:
        asked.append(number)

    # Noted and looked at between polls: an exception might come between the start of a rank and its entry in the list.
    for asking in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(asking) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(asking, note)
    ranks: list[Rank] = []
    with ExitStack() as files:
        try:
            for number, command in commands.items():
                output: Optional[IO[bytes]] = None
                if ranks and logs:
                    output = files.enter_context(open(logs / f"rank{number}.log", "w+b"))
                elif ranks:
                    output = files.enter_context(tempfile.TemporaryFile())
                # A session of its own: Ctrl-C reaches this process alone, and one signal a rank with its workers.
                process = subprocess.Popen(
                    command,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=None if output is None else subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=ends_with_us(),
                )
                ranks.append(Rank(number, process, output))
            while not asked and not _failed(ranks) and any(rank.process.poll() is None for rank in ranks):
                time.sleep(POLL)
            culprit = None if asked else _culprit(ranks)
        finally:
            if any(rank.process.poll() != 0 for rank in ranks):
                _stop(ranks)
        if culprit is not None:
            stop(_verdict(culprit), _exit_code(culprit))
        if asked:
            stop("interrupted: run the same command again", 128 + asked[0])


def _failed(ranks: Sequence[Rank]) -> list[Rank]:
    return [rank for rank in ranks if rank.process.poll()]


def _culprit(ranks: Sequence[Rank]) -> Optional[Rank]:
    """The rank that failed first, as far as can be told: the others fail soon after it."""
    failed = _failed(ranks)
    if failed and min(rank.blame() for rank in failed) > 1:
        time.sleep(SETTLE)
        failed = _failed(ranks)
    return min(failed, key=Rank.blame, default=None)


def _verdict(culprit: Rank) -> str:
    code = culprit.process.returncode
    if code < 0:
        hint = ": is there memory enough?" if -code == signal.SIGKILL else ""
        return f"rank {culprit.number} was killed by {signal.Signals(-code).name}, and the others were stopped{hint}"
    said = "its output is above" if culprit.output is None else culprit.complaint() or "it said nothing"
    return f"rank {culprit.number} failed with code {code}, and the others were stopped: {said}"


def _exit_code(rank: Rank) -> int:
    code = rank.process.returncode
    return code if code >= 0 else 128 - code  # as a shell has it


def _stop(ranks: Sequence[Rank]) -> None:
    for rank in ranks:
        rank.send(signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    for rank in ranks:
        with suppress(subprocess.TimeoutExpired):
            rank.process.wait(max(0.0, deadline - time.monotonic()))
    for rank in ranks:
        rank.send(signal.SIGKILL)  # those that would not end, and workers left behind
        rank.process.wait()


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def add_arguments(parser: Parser) -> None:
    parser.passes = "-- ARGS"
    parser.add_argument("--processes", type=count, required=True, metavar="N", help="processes on this machine")
    parser.add_argument("--nodes", type=count, default=1, metavar="N", help="machines (1)")
    parser.add_argument("--node-rank", type=int, metavar="R", help="this machine's number, from 0")
    parser.add_argument("--master", metavar="HOST:PORT", help="machine 0's address (this machine and a free port)")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep the output of ranks that are not shown here")


def run(args: argparse.Namespace) -> None:
    _check(args)
    need("fairseq_cli", "fairseq")
    if args.logs is not None:
        args.logs.mkdir(parents=True, exist_ok=True)
    master = args.master or f"127.0.0.1:{free_port()}"
    commands = rank_commands(args.passed, args.processes, args.nodes, args.node_rank or 0, master)
    train(commands, environment(args.processes, args.nodes), args.logs)


def _check(args: argparse.Namespace) -> None:
    """Raise ``UserError`` where the flags make no sense."""
    if args.nodes > 1 and (args.master is None or args.node_rank is None):
        raise UserError(f"--nodes {args.nodes} needs --node-rank R and --master HOST:PORT")
    if args.node_rank is not None and not 0 <= args.node_rank < args.nodes:
        raise UserError(
            f"--node-rank {args.node_rank}: must be from 0 to {args.nodes - 1}, for --nodes is {args.nodes}"
        )
    if args.master is not None:
        host, _, port = args.master.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise UserError(f"--master {args.master}: must be HOST:PORT, such as 10.0.0.1:29500")
    if not args.passed:
        raise UserError("put fairseq-train's arguments after a lone --")
    for argument in args.passed:
        if argument.startswith(OURS):
            raise UserError(f"{argument.split('=')[0]}: this command sets it; leave it out")
