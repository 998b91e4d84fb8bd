"""one-layer-lt train: what fairseq-train is given, and what is shown of what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairseq_plugins.commands import train
from fairseq_plugins.generate import PLUGIN
from one_layer_lt import process
from one_layer_lt.cli import call
from one_layer_lt.errors import UserError
from one_layer_lt.progress import progress
from one_layer_lt.report.curves import sparkline
from tests.plugin.running import train_arguments


def line(tag: str, **state: Any) -> str:
    return f"2026-01-01 00:00:00 | INFO | {tag} | {json.dumps({'epoch': 2, **state})}\n"


def inner(updates: int, epochs: float, **state: Any) -> str:
    return line("train_inner", num_updates=str(updates), update=epochs, ppl="9.5", ups="4", **state)


def test_what_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "cpu_flags", lambda: ["--cpu", "--cpu-bf16"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    def added(*arguments: str) -> list[str]:
        command = train._command(arguments, train._asked(arguments))
        assert command[: len(arguments) + 1] == ["fairseq-train", *arguments]
        return command[len(arguments) + 1 :]

    usual = ["--user-dir", str(PLUGIN), "--log-interval", "20"]
    masked = ("data", "--arch", "one_layer_masked_tiny")
    assert added(*masked) == [*usual, "--cpu", "--cpu-bf16", "--log-format", "json"]
    assert added("data", "--arch", "transformer") == [*usual, "--cpu", "--log-format", "json"]
    assert added("data", "--cpu", "--user-dir", "x", "--log-interval=7") == ["--log-format", "json"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert added(*masked) == [*usual, "--log-format", "json"]
    with pytest.raises(UserError, match="--log-format: this command sets it"):
        added("data", "--log-format", "simple")


def test_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that goes on at update 30, of whose 15 epochs of 10 updates the fifth is the last but 10."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    arguments = ["data", "--max-epoch", "15"]
    bar = progress("run", None, "updates")
    each = train._shown(bar, 0, 1, train._asked(arguments))
    each("2026-01-01 | INFO | fairseq_cli.train | {'_name': None}\n")
    assert (bar.total, bar.note) == (None, "")
    each(inner(30, 3.0))
    assert (bar.n, bar.total, bar.left) == (30, 150, "")
    now = 10.0
    each(line("valid", valid_ppl="7.25", valid_bleu="31.5", valid_num_updates="40"))
    each(line("train", train_ppl="10", train_num_updates="40"))
    each(inner(40, 4.0))
    assert (bar.n, bar.left) == (40, "0:01:50 left")
    assert bar.note == "epoch 2, perplexity 9.5, updates a second 4, valid perplexity 7.25, BLEU 31.5"
    both = progress("run", None, "updates")
    train._shown(both, 0, 1, train._asked([*arguments, "--max-update", "90"]))(inner(30, 3.0))
    assert both.total == 90
    part = progress("a stage of several", 1000, "tokens")
    train._shown(part, 100, 5, train._asked([]))(inner(30, 3.0))
    assert (part.n, part.total) == (250, 1000)


def test_a_sparkline() -> None:
    assert sparkline([1, 2, 4, 8, 16, 32, 64, 128]) == "▁▂▃▄▅▆▇█"
    assert sparkline([4.0] * 3) == "▁▁▁"
    assert sparkline(range(1, 101), 2) == "▁█"
    assert sparkline([]) == ""
    assert sparkline([0, float("inf")]) == "▁█"


def test_a_training(corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = train_arguments(corpus, tmp_path / "run", updates=4)
    at = arguments.index("--log-format")
    arguments = [*arguments[:at], *arguments[at + 2 :], "--log-interval", "1"]
    call(["train", *arguments])
    said, complaints = capfd.readouterr()
    train_line, valid_line, last = said.splitlines()
    assert train_line.startswith("train perplexity ")
    assert set(train_line.split()[2]) <= set("▁▂▃▄▅▆▇█")
    assert valid_line.startswith("valid perplexity ")
    assert last == f"{tmp_path / 'run'}: trained; the log is train.log there"
    progress_lines = [line for line in complaints.splitlines() if line.startswith(f"{tmp_path / 'run'}: ")]
    assert complaints.splitlines() == progress_lines  # one each half minute: none on a machine that is not busy
    assert (tmp_path / "run" / "checkpoint_best.pt").is_file()
    with pytest.raises(
        process.CommandFailed, match=r"unrecognized arguments: --keeps 1 \(all of it: .*run/train.log\)"
    ):
        call(["train", *arguments, "--keeps", "1"])
    with pytest.raises(UserError, match="give fairseq-train's arguments"):
        call(["train"])
