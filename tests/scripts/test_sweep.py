"""scripts/sweep.py: one whole run of fairseq."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from one_layer_lt import TicketError
from one_layer_lt.errors import UserError
from one_layer_lt.files import write_json
from one_layer_lt.finite import DIVERGED
from one_layer_lt.lock import hold
from one_layer_lt.text.subwords import Subword
from scripts import results, study, sweep
from scripts.study import Run
from tests.core.test_lock import ended
from tests.plugin.running import SIZE, prepared
from tests.scripts.test_study import STUDY, write
from tests.scripts.test_tables import result


def toy_flags() -> dict[str, Any]:
    """fairseq-train's, of a short training."""
    size = dict(zip((flag.removeprefix("--") for flag in SIZE[::2]), SIZE[1::2]))
    flags = {"arch": "one_layer_masked_tiny", **size, "optimizer": "adam", "lr": "5e-3", "max-update": 4}
    flags |= {"encoder-layers": 1, "decoder-layers": 1, "encoder-ffn-embed-dim": 128, "decoder-ffn-embed-dim": 128}
    flags |= {"max-source-positions": 64, "max-target-positions": 64}  # a model that knows nothing goes on to the end
    flags["required-batch-size-multiple"] = 1
    return {**flags, "max-tokens": 200, "criterion": "label_smoothed_cross_entropy", "no-epoch-checkpoints": True}


def test_a_run_is_trained_scored_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(tmp_path, Subword("sentencepiece", 60))
    flags = toy_flags()
    run = Run("toys", "a run", 1, flags, str(data), ("valid",), beam=2, lenpen=(1.0, -2.0), last=None)
    monkeypatch.setattr(study, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(Run, "folder", tmp_path / "run")
    assert sweep.make(run, threads=1).startswith("valid perplexity")
    kept = json.loads(run.result.read_text())
    assert kept["valid"]["checkpoint"]["updates"] == 4
    assert kept["valid"]["sentences"] == 4
    assert kept["valid"]["bleu"]["score"] == max(kept["lenpen"].values())
    assert len(kept["valid"]["bleu"]["ci95"]) == len(kept["valid"]["chrf"]["ci95"]) == 2
    assert kept["lenpen"][f"{kept['valid']['lenpen']:g}"] == max(kept["lenpen"].values())
    assert 0 < kept["size"]["bytes"] < kept["size"]["weights"]  # less than a byte a weight
    assert [file.name for file in (tmp_path / "run").glob("*.pt")] == ["checkpoint_best.pt"]
    assert kept["commit"].keys() == {"hash", "dirty"}
    assert kept["inputs"].keys() == {"data"}
    log = (tmp_path / "run" / "train.log").read_text()
    assert sweep.make(run, threads=1) == "kept"
    again = sweep.make(run, threads=1, again=True)  # has its model, and trains no more
    assert again.startswith("valid perplexity")
    assert (tmp_path / "run" / "train.log").read_text() == log
    with open(tmp_path / "run" / "train.log") as held:
        hold(held.fileno(), "")
        with pytest.raises(UserError, match="another sweep is at it"):
            sweep.make(run, threads=1, again=True)
    other = Run("toys", "a run", 1, {**flags, "lr": 1}, str(data), ("valid",), beam=1, lenpen=(1.0,), last=None)
    with pytest.raises(UserError, match=r"a-run-s1\.json is of other flags"):
        sweep.make(other, threads=1)
    run.result.unlink()
    with pytest.raises(UserError, match="was begun with other flags: remove it, or name the run anew"):
        sweep.make(other, threads=1)


@pytest.mark.parametrize(("changed", "bits"), [({"train-bits": 2}, ()), ({}, (2,))])
def test_rounded_dense_models_are_scored(
    changed: dict[str, int], bits: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepared(tmp_path, Subword("sentencepiece", 60))
    flags = {**toy_flags(), "dense": True, **changed}
    run = Run("toys", "a run", 1, flags, str(data), ("valid",), beam=2, lenpen=(1.0,), last=None, bits=bits)
    monkeypatch.setattr(study, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(Run, "folder", tmp_path / "run")
    sweep.make(run, threads=1)
    kept = json.loads(run.result.read_text())
    rounded = kept if changed else kept["int2"]
    assert rounded["valid"]["checkpoint"]["path"].endswith("int2.pt")
    assert rounded["valid"]["checkpoint"]["updates"] == 4
    assert rounded["size"]["bytes"] < rounded["size"]["weights"] / 2
    assert ("int2" in kept) is bool(bits)
    if bits:
        assert kept["size"] == {"weights": rounded["size"]["weights"], "bytes": 4 * rounded["size"]["weights"]}
    assert [file.name for file in (tmp_path / "run").glob("*.pt")] == ["checkpoint_best.pt"]


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study outside of the repository, whose runs are made at once."""

    def make(run: Run, threads: int, again: bool = False) -> str:
        if run.slug == "reference-s1":
            raise fault
        write_json(run.result, {**result(20, 9), "command": shlex.join(run.command())})
        return "made"

    fault = TicketError("cannot be read")
    monkeypatch.setattr(sweep, "make", make)
    (tmp_path / "data").mkdir()
    return write(tmp_path, STUDY.replace("data-bin/toy", str(tmp_path / "data")))


def swept(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["sweep.py", *map(str, arguments)])
    sweep.main()


@pytest.mark.parametrize("out", [None, "out"])
def test_a_study_of_ones_own_has_its_tables_beside_its_results(
    out: str | None, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    before = set(results.RESULTS.rglob("*"))
    folder = tmp_path / (out or "results")
    swept(monkeypatch, toys, "dense", *(["--out", folder] if out else []))
    said = capsys.readouterr().out.splitlines()[-2:]
    assert said == [f"tables: {folder / 'toys.md'}", f"report: {folder / 'toys.html'}"]
    assert "1 dense-s1" in re.sub("<.*?>", "", (folder / "toys.html").read_text())
    page = (folder / "toys.md").read_text()
    assert "| dense | 400 | 2 | [1](toys/dense-s1.json) [2](toys/dense-s2.json) |" in page
    assert f"The runs were trained by `python scripts/sweep.py {toys}`" in page
    assert (folder / "toys" / "dense-s2.json").is_file()
    assert (folder / "toys.png").is_file()
    assert set(results.RESULTS.rglob("*")) == before


def test_one_bad_run_is_named_and_the_others_go_on(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UserError, match="1 of 5 runs failed: reference-s1: cannot be read"):
        swept(monkeypatch, toys)
    said = capsys.readouterr()
    assert said.err == "reference-s1: cannot be read\n"
    assert [line for line in said.out.splitlines() if line.endswith(": made")] == [
        f"{slug}: made" for slug in ("reference-s2", "lr-5e-4-no-dropout-s7", "dense-s1", "dense-s2")
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyError("valid"), "a-s1: KeyError: 'valid'"),
        (SystemExit("error: --keep 2"), "a-s1: SystemExit: error: --keep 2"),
        (FileNotFoundError(2, "No such file", "x.pt"), "a-s1: x.pt: No such file"),
        (UserError("a-s1: training failed"), "a-s1: training failed"),
        (RuntimeError("shapes\ndiffer"), "a-s1: RuntimeError: shapes differ"),
    ],
)
def test_whatever_a_run_raises_is_one_line(
    error: BaseException, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(run: Run, threads: int, again: bool) -> str:
        raise error

    monkeypatch.setattr(sweep, "make", make)
    run = Run("toys", "a", 1, {}, "data", ("valid",), beam=1, lenpen=(1.0,), last=None)
    assert list(sweep._make_all([run], jobs=1, again=False)) == [expected]
    assert capsys.readouterr().err == expected + "\n"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose training is the script ``train`` in the folder of the test."""
    monkeypatch.setattr(Run, "folder", tmp_path / "run")
    monkeypatch.setattr(study, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sweep.translators, "inputs", lambda run: {})
    monkeypatch.setattr(sys, "executable", str(tmp_path / "train"))
    return Run("toys", "a", 1, {}, "data", ("valid",), beam=1, lenpen=(1.0,), last=None)


def script(tmp_path: Path, *lines: str) -> None:
    (tmp_path / "train").write_text("\n".join(["#!/bin/sh", f"cd {tmp_path}", *lines]) + "\n")
    (tmp_path / "train").chmod(0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_training_ends_with_its_sweep(number: signal.Signals, stand_in: Run, tmp_path: Path) -> None:
    script(tmp_path, "echo $$ > half; mv half process", "exec sleep 60")

    def work() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        list(sweep._make_all([stand_in], jobs=1, again=False))

    sweeping = multiprocessing.get_context("fork").Process(target=work)
    sweeping.start()
    while not (tmp_path / "process").exists():
        assert sweeping.is_alive()
        time.sleep(0.01)
    os.kill(sweeping.pid or 0, number)
    sweeping.join(30)
    assert sweeping.exitcode == (130 if number == signal.SIGINT else -number)
    assert ended(int((tmp_path / "process").read_text()))
    script(tmp_path, "exit 1")  # the folder is free
    with pytest.raises(UserError, match="training ended with code 1"):
        sweep.make(stand_in, threads=1)


def test_a_diverged_run_is_told_and_tidied(stand_in: Run, tmp_path: Path) -> None:
    said = f"fairseq-train: error: gradients are Nan/Inf, after update 3: {DIVERGED}; the last checkpoint is kept"
    script(tmp_path, "touch run/crash.pt run/checkpoint_last.pt", f"echo '{said}'", "exit 1")
    assert sweep.make(stand_in, threads=1) == "diverged"
    assert said in json.loads(stand_in.result.read_text())["diverged"]
    assert list((tmp_path / "run").glob("*.pt")) == []
    assert sweep.make(stand_in, threads=1) == "kept"
