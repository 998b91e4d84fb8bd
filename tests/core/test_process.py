"""one_layer_lt/process.py: commands in processes of their own."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from one_layer_lt import process
from one_layer_lt.process import CommandFailed, run, started_by


def python(code: str) -> list[str]:
    return ["python", "-c", code]


def test_commands_are_started_by_this_python() -> None:
    assert started_by(["fairseq-train", "data"]) == [sys.executable, "-m", "fairseq_cli.train", "data"]
    assert started_by(["one-layer-lt", "score"]) == [sys.executable, "-m", "one_layer_lt", "score"]
    assert started_by(["python", "-c", "pass"]) == [sys.executable, "-c", "pass"]


def test_output_is_returned_and_added_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "it.log"
    log.write_text("before\n")
    code = "import os, sys; print(os.environ['NAME'], os.getcwd(), flush=True); sys.stderr.write('aside\\n')"
    said = run(python(code), log=log, cwd=tmp_path, env={**os.environ, "NAME": "ä"})
    assert said == f"ä {tmp_path}\naside\n"
    assert log.read_text() == "before\n" + said


def test_each_line_that_is_put_out_is_told_and_logged(tmp_path: Path) -> None:
    seen: list[str] = []
    code = "import sys; print('a\\u2028b'); print('c'); sys.stderr.write('aside')"
    run(python(code), log=tmp_path / "log", each=seen.append)
    assert seen == ["a\u2028b\n", "c\n"]
    assert sorted((tmp_path / "log").read_text().replace("aside", "").split("\n")) == ["", "a\u2028b", "c"]


def test_a_failure_is_told_by_its_last_error(tmp_path: Path) -> None:
    log = tmp_path / "it.log"
    log.write_text("ValueError: of a run before\n")
    with pytest.raises(CommandFailed) as failed:
        run(python("import sys; print('so far'); sys.exit(3)"), log=log, name="it")
    assert str(failed.value) == f"it ended with code 3: so far (all of it: {log})"
    with pytest.raises(CommandFailed, match=r"^python ended with code 1: ValueError: no$"):
        run(python("import atexit; atexit.register(print, 'bye'); raise ValueError('no')"))
    with pytest.raises(CommandFailed, match=r"^python ended with code 2: it said nothing$"):
        run(python("import sys; sys.exit(2)"))


def test_nothing_is_left_running(tmp_path: Path) -> None:
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(python("import time; print('begun', flush=True); time.sleep(60)"), each=stop)
    assert time.monotonic() - started < 30


def test_signs_of_life(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(process, "BEAT", 0.05)
    with caplog.at_level("INFO"):
        run(python("import time; time.sleep(0.3)"), still="still at it")
    assert {record.message for record in caplog.records} == {"still at it"}
