"""How command lines end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

from one_layer_lt import TicketError
from one_layer_lt.errors import UserError
from one_layer_lt.optional import need
from one_layer_lt.terminal import run
from one_layer_lt.vision.data import DataError


def ended(call: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and what is on stderr."""
    with pytest.raises(SystemExit) as leaving:
        call()
    return int(leaving.value.code or 0), capsys.readouterr().err


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


ROOM = "make room on the disk, and run the same command again\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("--size 0: must be\nat least 1"), 2, "error: --size 0: must be at least 1\n"),
        (TicketError("\x1b[31mred"), 2, "error: [31mred\n"),
        (DataError("no such data"), 2, "error: no such data\n"),
        (FileNotFoundError(2, "No such file", "a.ticket"), 2, "error: a.ticket: No such file\n"),
        (OSError(28, "No space left on device"), 2, "error: system: No space left on device: " + ROOM),
        (MemoryError(), 2, "error: MemoryError\n"),
        (KeyboardInterrupt(), 130, "error: interrupted: run the same command again\n"),
        (BrokenPipeError(), 0, ""),
        (SystemExit(3), 3, ""),
    ],
)
def test_codes_and_lines(
    error: BaseException, code: int, said: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.dup2", lambda *_: None)
    with pytest.raises(SystemExit) as leaving:
        run(raising(error))
    assert (leaving.value.code, capfd.readouterr().err) == (code, said)


def test_what_comes_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(lambda: run(lambda: None), capsys) == (0, "")


def test_a_bug_keeps_its_traceback() -> None:
    for error in (ValueError("a bug"), AssertionError(), KeyError("x")):
        with pytest.raises(type(error)) as caught:
            run(raising(error))
        assert caught.value is error


def test_what_the_library_refuses_may_be_the_users(capsys: pytest.CaptureFixture[str]) -> None:
    refusing = raising(ValueError("beam must be at least 1, not 0"))
    assert ended(lambda: run(refusing, ValueError), capsys) == (2, "error: beam must be at least 1, not 0\n")


def test_a_missing_extra_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "subword_nmt.apply_bpe", None)
    said = "error: subword_nmt is not installed: pip install 'one_layer_lt[data]'\n"
    assert ended(lambda: run(lambda: need("subword_nmt.apply_bpe", "data")), capsys) == (2, said)


def test_what_a_module_lacks_is_named() -> None:
    assert need("math", "data").pi > 3
    with pytest.raises(UserError, match=r"^no_such_package is not installed: pip install 'one_layer_lt\[plots\]'$"):
        need("no_such_package.part", "plots")


def printed(program: str, shell: str = "", **environment: str) -> tuple[int, bytes, bytes]:
    """The exit code, stdout and stderr of a program that ends by ``run``, its descriptors as a shell leaves them."""
    code = f"import sys\nfrom one_layer_lt.terminal import run\ndef main():\n    {program}\nrun(main)"
    command = ["bash", "-c", f'"$0" -c "$1" {shell}', sys.executable, code]
    done = subprocess.run(command, capture_output=True, env={**os.environ, **environment}, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16"])
def test_text_goes_out_as_utf8(encoding: str) -> None:
    program = "print('Übung → 日本'); print('naïve', file=sys.stderr)"
    found = printed(program, PYTHONIOENCODING=encoding, LC_ALL="C")
    assert found == (0, "Übung → 日本\n".encode(), "naïve\n".encode())


def test_a_name_that_is_no_utf8_goes_out_as_it_is() -> None:
    assert printed(r"print('a\udcff'); print('a\udcff', file=sys.stderr)") == (0, b"a\xff\n", b"a\\udcff\n")


def test_closed_output_is_one_line() -> None:
    assert printed("open('/dev/null'); print('x')", ">&-") == (
        2,
        b"",
        b"error: standard output is closed: leave it open, or send it to a file or to /dev/null\n",
    )


def test_closed_complaints_do_not_go_to_the_output() -> None:
    assert printed("print('good')", "2>&-") == (0, b"good\n", b"")
    assert printed("raise OSError(28, 'full')", "2>&-") == (2, b"", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_line_even_at_the_end() -> None:
    said = f"error: standard output: No space left on device: {ROOM}".encode()
    assert printed("print('x')", ">/dev/full", PYTHONUNBUFFERED="") == (2, b"", said)
