"""What may be within a line without ending it: of every reader, and of what is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.lib.campaigns import segments
from one_layer_lt.text import moses
from one_layer_lt.text.lines import read_lines
from one_layer_lt.text.subwords import Subword, encode, encoder, learn

ODD = ["\r", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"]  # str.splitlines ends lines at these
LINES = ["", *(f"eins{mark}zwei {mark} drei" for mark in ODD), "", "vier", ""]


def written(path: Path) -> Path:
    path.write_bytes("".join(line + "\n" for line in LINES).encode())
    return path


def test_moses_keeps_lines(tmp_path: Path) -> None:
    written(tmp_path / "raw")
    moses.tokenize(tmp_path / "raw", tmp_path / "tok", "de")
    for lines in (
        list(read_lines(tmp_path / "tok")),
        moses.detokenise(LINES, "de"),
        moses.through([moses.LOWERCASE], LINES),
    ):
        assert len(lines) == len(LINES)
        assert [not line for line in lines] == [not line for line in LINES]


@pytest.mark.parametrize("subword", [Subword("sentencepiece", 24), Subword("moses-bpe", 9)])
def test_subwords_keep_lines(tmp_path: Path, subword: Subword) -> None:
    text, model = written(tmp_path / "raw"), tmp_path / "model"
    learn(subword, (text, text), model)
    encode(subword, model, text, tmp_path / "encoded")
    found = (tmp_path / "encoded").read_bytes().decode().split("\n")[:-1]
    assert found == list(encoder(subword, model.read_bytes())(read_lines(text)))
    assert [not line for line in found] == [not line for line in LINES]


def test_segments_keep_lines(tmp_path: Path) -> None:
    (tmp_path / "a.sgm").write_bytes("".join(f'<seg id="1">{line}</seg>\n' for line in LINES).encode())
    assert list(segments(tmp_path / "a.sgm")) == [line.replace("\r", " ") for line in LINES]
