"""Subwords, and the packages that they do without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fairseq.data.data_utils import post_process
from hypothesis import given
from hypothesis import strategies as st

from one_layer_lt.text.subwords import Subword, encoder, joined, learn

from .alone import EXTRAS, blocked

TEXT = """
import json
import one_layer_lt, one_layer_lt.text.lines, one_layer_lt.text.manifest, one_layer_lt.text.moses
import one_layer_lt.text.sampling, one_layer_lt.text.subwords
from one_layer_lt import MaskConfig, Ticket
from one_layer_lt.text.ticket import Text

architecture = {"text": {"tokenizer": "sentencepiece", "lowercase": True}, "source": "de", "target": "en"}
ticket = Ticket((), architecture, assets={"subwords": open(sys.argv[1], "rb").read()})
text = Text(ticket)
pieces = text.split([" Der  HUND\\u200b rennt.", ""])
print(json.dumps([pieces, text.join([" ".join(line) for line in pieces])]))
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Sentencepieces of a small text."""
    text = tmp_path / "text"
    text.write_text("der hund rennt.\ndie katze schläft.\n" * 10)
    learn(Subword("sentencepiece", 22), (text, text), tmp_path / "spm.model")
    return tmp_path / "spm.model"


def test_sentencepieces_take_neither_fairseq_nor_an_extra(model: Path) -> None:
    done = blocked(["fairseq", *EXTRAS], TEXT, str(model))
    assert done.returncode == 0, done.stderr
    split, text = json.loads(done.stdout)
    expected = list(encoder(Subword("sentencepiece", 1), model.read_bytes())(["der hund rennt.", ""]))
    assert split == [line.split() for line in expected]
    assert text == ["der hund rennt.", ""]


@pytest.mark.parametrize("missing", ["subword_nmt", "mosestokenizer"])
def test_a_missing_extra_is_one_line(missing: str) -> None:
    code = """
from one_layer_lt import Ticket
from one_layer_lt.terminal import run
from one_layer_lt.text.ticket import Text

architecture = {"text": {"tokenizer": "moses-bpe"}, "source": "de", "target": "en"}
ticket = Ticket((), architecture, assets={"subwords": b"#version: 0.2\\nd e</w>\\n"})
run(lambda: Text(ticket).split(["ein Hund"]))
"""
    done = blocked([missing], code)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"error: {missing} is not installed: pip install 'one_layer_lt[data]'\n"


def test_numbers_without_its_extra_is_one_line(tmp_path: Path) -> None:
    code = """
import runpy

sys.argv[0] = "numbers"
runpy.run_module("data_prep.numbers", run_name="__main__")
"""
    done = blocked(["babel"], code, "--out", str(tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    assert done.stderr == "error: babel is not installed: pip install 'one_layer_lt[data]'\n"
    assert not list(tmp_path.iterdir())


@given(st.text("ab@▁ ").map(str.strip))
def test_units_are_joined_as_fairseq_does(units: str) -> None:
    for kind, name in (("sentencepiece", "sentencepiece"), ("moses-bpe", "subword_nmt")):
        assert joined(kind, units) == post_process(units, name)


def test_joined() -> None:
    assert joined("sentencepiece", "▁Ein ▁H und .") == "Ein Hund."
    assert joined("moses-bpe", "ein H@@ und .") == "ein Hund ."
