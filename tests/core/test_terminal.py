"""How command lines end."""

from __future__ import annotations

import sys
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


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("--size 0: must be\nat least 1"), 2, "error: --size 0: must be at least 1\n"),
        (TicketError("\x1b[31mred"), 2, "error: [31mred\n"),
        (DataError("no such data"), 2, "error: no such data\n"),
        (FileNotFoundError(2, "No such file", "a.ticket"), 2, "error: a.ticket: No such file\n"),
        (OSError(28, "No space left on device"), 2, "error: system: No space left on device\n"),
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
