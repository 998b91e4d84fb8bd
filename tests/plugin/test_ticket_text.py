"""Raw lines are split as the training data were."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from one_layer_lt import Ticket, TicketError
from one_layer_lt.text.subwords import Subword
from one_layer_lt.text.ticket import Text, text_settings
from tests.support.translators import vars_of, with_settings

from . import running
from .running import prepared

CODES = b"#version: 0.2\na b\n"


@pytest.fixture
def lowercased(data: Path, tmp_path: Path) -> Path:
    """A data folder that says lower case."""
    folder = Path(shutil.copytree(data, tmp_path / "data"))
    said = json.loads((folder / "data.json").read_text())
    (folder / "data.json").write_text(json.dumps({**said, "lowercase": True}))
    return folder


class TestSettings:
    """What a ticket says of its text."""

    def test_a_file_does_not_change_what_the_folder_says(self, lowercased: Path) -> None:
        expected = {"tokenizer": "sentencepiece", "lowercase": True, "aggressive": False}
        content = (lowercased / "spm.model").read_bytes()
        for subwords in (None, lowercased / "spm.model"):
            assert text_settings(lowercased, subwords) == (expected, content)

    def test_another_model_than_the_folder_s_is_refused(self, lowercased: Path, tmp_path: Path) -> None:
        (tmp_path / "other").write_bytes(CODES)
        with pytest.raises(TicketError, match=r"other is not the subword model of .*data, which is .*spm\.model"):
            text_settings(lowercased, tmp_path / "other")

    def test_a_folder_that_says_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "codes").write_bytes(CODES)
        assert text_settings(tmp_path, None) == (None, None)
        settings, content = text_settings(tmp_path, tmp_path / "codes")
        assert (settings or {})["tokenizer"] == "moses-bpe"
        assert content == CODES


class TestText:
    """Raw lines are split as the training data were."""

    @pytest.mark.parametrize(
        ("subword", "languages", "joined"),
        [
            (Subword("sentencepiece", 60), ("xx", "yy"), True),
            (Subword("sentencepiece", 28, lowercase=True), ("xx", "yy"), True),
            (Subword("moses-bpe", 30, lowercase=True), ("de", "en"), False),
            (Subword("moses-bpe", 30), ("de", "en"), True),
        ],
        ids=["sentencepiece", "sentencepiece in lower case", "moses in lower case", "moses"],
    )
    def test_as_the_data(
        self,
        tmp_path: Path,
        subword: Subword,
        languages: tuple[str, str],
        joined: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        encoded: dict[str, list[str]] = {}

        def keep(folder: Path, source: str, target: str, out: Path, joined_dictionary: bool) -> None:
            for side, language in (("source", source), ("target", target)):
                encoded[side] = (folder / f"test.{language}").read_text().splitlines()

        monkeypatch.setattr(running, "binarised", keep)
        data = prepared(tmp_path, subword, languages, joined)
        manifest = json.loads((data / "data.json").read_text())
        text = Text(
            Ticket(
                masks=(),
                architecture={"source": languages[0], "target": languages[1], "text": manifest},
                assets={"subwords": (data / manifest["model"]).read_bytes()},
            )
        )
        source, target = ((data / "raw" / f"test.{language}").read_text().splitlines() for language in languages)
        assert [" ".join(line) for line in text.split(source)] == encoded["source"]
        joined_again = text.join(encoded["target"])
        assert joined_again == [line.lower() if subword.lowercase else line for line in target]

    @pytest.mark.parametrize(
        ("kind", "content"),
        [
            *(("sentencepiece", content) for content in (b"noise" * 9, b"#version: 0.2\na b\n")),
            *(("moses-bpe", content) for content in (b"\xff\xfe", b"#version: x\n", b"#version: 0.2\na b c d\n")),
        ],
    )
    def test_a_damaged_subword_model(self, ticket: Ticket, kind: str, content: bytes) -> None:
        assets = {**ticket.assets, "subwords": content}
        damaged = Ticket(**{**vars_of(with_settings(ticket, text={"tokenizer": kind})), "assets": assets})
        with pytest.raises(TicketError, match="the ticket's subword model is damaged"):
            Text(damaged).split(["Alpha"])
