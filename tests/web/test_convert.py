"""one-layer-lt convert --to html."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Callable

import pytest

from one_layer_lt.cli import main
from one_layer_lt.ticket import load_ticket
from one_layer_lt.web import page
from tests.web.running import GOLDEN

WORDS = GOLDEN / "translation-sentencepiece.ticket"

Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """(exit code, stdout, stderr) of ``one-layer-lt convert ARGUMENTS``."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["one-layer-lt", "convert", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capfd.readouterr()

    return call


def test_writes_the_page(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert run(WORDS, "--to", "html", "-o", out) == (
        0,
        f"{out}: {out.stat().st_size:,} bytes; a browser opens it\n",
        "",
    )
    assert out.read_text("utf-8") == page({WORDS.stem: load_ticket(WORDS)})


def test_several_tickets_make_one_page(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.ticket"
    other.write_bytes(WORDS.read_bytes())
    out = tmp_path / "page.html"
    assert run(WORDS, other, "--to", "html", "-o", out)[0] == 0
    assert [f'data-name="{path.stem}"' in out.read_text("utf-8") for path in (WORDS, other)] == [True, True]


def test_what_cannot_be_leaves_what_was_there(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("of before")
    moses = GOLDEN / "translation-moses-bpe.ticket"
    for arguments, said in (
        ((WORDS, moses, "--to", "html"), "its text is split by Moses' tokenizer, which no page has"),
        ((WORDS, WORDS, "--to", "html"), "two tickets are called translation-sentencepiece: rename one"),
        ((WORDS, moses, "--to", "fairseq"), "--to fairseq takes one ticket, not 2: only a page holds several"),
        ((tmp_path / "none.ticket", "--to", "html"), "no such file"),
        ((WORDS, "--to", "html", "--quantization", "int8"), "--quantization needs --to ctranslate2"),
    ):
        code, _, complaint = run(*arguments, "-o", out)
        assert code
        assert complaint.count("\n") == 1
        assert said in complaint
        assert out.read_text() == "of before"


def test_a_folder_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "none" / "page.html"
    code, _, complaint = run(WORDS, "--to", "html", "-o", out)
    assert code
    assert complaint.count("\n") == 1
    assert str(out) in complaint
