"""one-layer-lt launch: two ranks that train as one, and, with a stand-in for fairseq-train, how it all ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest
import torch

from one_layer_lt.cli.launch import environment
from tests.plugin import conftest as toy
from tests.plugin.running import load_state, train, train_arguments

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "one_layer_lt", "launch"]
corpus = toy.corpus

# Writes down its process, its flags and its environment; then does what its first argument says.
STAND_IN = """
import json, os, sys, time
rank = sys.argv[sys.argv.index("--distributed-rank") + 1]
state = {"pid": os.getpid(), "argv": sys.argv[1:], "threads": os.environ["OMP_NUM_THREADS"]}
with open(f"rank{rank}.part", "w") as file:
    json.dump(state, file)
os.replace(f"rank{rank}.part", f"rank{rank}.json")
print("shown" if rank == "0" else "kept", flush=True)
exec(sys.argv[1])
"""


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start the command with a stand-in for fairseq-train."""
    package = tmp_path / "fairseq_cli"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "train.py").write_text(STAND_IN)

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        variables = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", **variables}
        command = [*COMMAND, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=variables, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, preexec_fn=_heed_signals
        )

    return start


def _heed_signals() -> None:
    """Whoever runs the tests in the background may have had some ignored, which the command would then heed."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _state(folder: Path, rank: int) -> dict[str, Any]:
    """What a stand-in wrote down; waits for it."""
    deadline = time.monotonic() + 20
    path = folder / f"rank{rank}.json"
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    state: dict[str, Any] = json.loads(path.read_text())
    return state


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_two_ranks_train_as_one_process_with_twice_the_batch(corpus: Path, tmp_path: Path) -> None:
    flags = ["--lr", "1e-3", "--max-epoch", "1", "--encoder-layers", "1", "--decoder-layers", "1"]
    arguments = train_arguments(corpus, tmp_path / "pair", *flags, updates=99)
    command = [*COMMAND, "--processes", "2", "--", *arguments, "--log-format", "simple"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    result = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "| epoch 001 | valid on 'valid' subset" in result.stdout + result.stderr

    alone = load_state(train(corpus, tmp_path / "alone", *flags, updates=99))
    twice = load_state(train(corpus, tmp_path / "twice", *flags, "--update-freq", "2", updates=99))
    pair = load_state(tmp_path / "pair" / "checkpoint_last.pt")
    steps = [state["optimizer_history"][-1]["num_updates"] for state in (alone, twice, pair)]
    assert steps == [steps[0], -(-steps[0] // 2), -(-steps[0] // 2)]
    assert pair["model"].keys() == twice["model"].keys()
    for name, tensor in twice["model"].items():
        torch.testing.assert_close(pair["model"][name], tensor, rtol=1e-4, atol=2e-6)
    learnt = [name for name, tensor in alone["model"].items() if not torch.equal(tensor, pair["model"][name])]
    assert any(name.endswith("parametrizations.weight.original") for name in learnt)


def test_success_shows_the_first_rank_alone(launch: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    process = launch("--processes", "2", "--logs", "logs", "--", "pass", "--arch", "x", OMP_NUM_THREADS="5")
    assert process.communicate(timeout=30) == ("shown\n", "")
    assert process.returncode == 0
    states = [_state(tmp_path, rank) for rank in range(2)]
    for rank, state in enumerate(states):
        assert state["threads"] == "2"
        assert state["argv"][:4] == ["pass", "--arch", "x", "--cpu"]
        assert state["argv"][-4:] == ["--distributed-world-size", "2", "--distributed-rank", str(rank)]
    address = [state["argv"][state["argv"].index("--distributed-init-method") + 1] for state in states]
    assert address[0] == address[1]
    assert (tmp_path / "logs" / "rank1.log").read_text() == "kept\n"


def test_node_of_several(launch: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    flags = ["--processes", "2", "--nodes", "3", "--node-rank", "1", "--master", "10.0.0.1:29500"]
    assert launch(*flags, "--", "pass").wait(timeout=30) == 0
    for rank in (2, 3):
        argv = _state(tmp_path, rank)["argv"]
        assert "tcp://10.0.0.1:29500" in argv
        assert argv[-4:] == ["--distributed-world-size", "6", "--distributed-rank", str(rank)]
    assert not (tmp_path / "rank0.json").exists()


WITH_WARNING = "sys.exit('[rank1]: ValueError: bad luck\\nand a warning')"
BEREFT = "time.sleep(0.3); raise RuntimeError('Connection closed by peer')"


@pytest.mark.parametrize(
    ("ranks", "code", "line"),
    [
        ({"1": WITH_WARNING}, 1, "rank 1 failed with code 1, {}: ValueError: bad luck"),
        ({"1": "os._exit(7)", "0": BEREFT}, 7, "rank 1 failed with code 7, {}: kept"),
        ({"0": "sys.exit(3)", "1": BEREFT}, 3, "rank 0 failed with code 3, {}: its output is above"),
        # Seen first, but a victim: it ends while the rank that it lost is still closing down.
        ({"1": BEREFT, "2": "time.sleep(1); sys.exit(4)"}, 4, "rank 2 failed with code 4, {}: kept"),
        ({"1": "os.kill(os.getpid(), 9)"}, 137, "rank 1 was killed by SIGKILL, {}: is there memory enough?"),
    ],
)
def test_failing_rank_stops_the_others(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path, ranks: dict[str, str], code: int, line: str
) -> None:
    # All have begun before any fails, so that there is something to stop.
    begun = "[time.sleep(0.01) for _ in range(2000) if len([f for f in os.listdir() if f.endswith('.json')]) < 3]"
    does = f"{begun}; exec({ranks!r}.get(rank, 'time.sleep(60)'))"
    process = launch("--processes", "3", "--", does)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    last = said.splitlines()[-1]
    assert last == "error: " + line.format("and the others were stopped")
    if "0" not in ranks:
        assert said.splitlines() == [last]
    assert all(_gone(_state(tmp_path, rank)["pid"]) for rank in range(3))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_stops_all(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = launch("--processes", "2", "--", "time.sleep(60)")
    pids = [_state(tmp_path, rank)["pid"] for rank in range(2)]
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (code, "error: interrupted: run the same command again\n")
    assert all(map(_gone, pids))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "--processes"),
        (["--processes", "0", "--", "data"], "argument --processes: 0 is not a whole number above 0"),
        (["--processes", "two", "--", "data"], "two is not a whole number above 0"),
        (["--processes", "2"], "after a lone --"),
        (["--processes", "2", "data"], "unrecognized arguments: data"),
        (["--processes", "2", "--nodes", "2", "--", "data"], "--nodes 2 needs --node-rank R and --master HOST:PORT"),
        (["--processes", "2", "--node-rank", "1", "--", "data"], "--node-rank 1: must be from 0 to 0"),
        (["--processes", "2", "--master", "somewhere", "--", "data"], "--master somewhere: must be HOST:PORT"),
        (["--processes", "2", "--master", "host:65536", "--", "data"], "--master host:65536: must be HOST:PORT"),
        (["--processes", "2", "--", "data", "--distributed-world-size=4"], "--distributed-world-size: this command"),
        (["--processes", "2", "--", "data", "--ddp-backend", "c10d"], "--ddp-backend: this command sets it"),
    ],
)
def test_bad_flags(launch: Callable[..., subprocess.Popen[str]], tmp_path: Path, flags: list[str], says: str) -> None:
    process = launch(*flags)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    (line,) = said.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert not list(tmp_path.glob("rank*"))


def test_threads_are_divided_and_gpus_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert environment(3, 1)["OMP_NUM_THREADS"] == "2"
    assert environment(16, 1)["OMP_NUM_THREADS"] == "1"
    assert environment(2, 1)["CUDA_VISIBLE_DEVICES"] == ""
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert int(environment(1, 1)["OMP_NUM_THREADS"]) >= 1
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    assert "GLOO_SOCKET_IFNAME" not in environment(2, 2)
