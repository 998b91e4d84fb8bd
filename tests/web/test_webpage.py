"""scripts/webpage.py, on a tiny ticket."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("fairseq")

from scripts import webpage
from tests.web.running import GOLDEN, needs_browser


@needs_browser
def test_a_page_is_tried_and_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = tmp_path / "text"
    text.write_text("Golf hotel golf hotel golf hotel golf alpha golf echo.\n" * 5 + "Alpha bravo.\n")
    arguments = [GOLDEN / "translation-sentencepiece.ticket", "--text", text, "--lines", "6", "--split", text]
    arguments += ["--pictures", tmp_path / "pictures"]
    monkeypatch.setattr(sys, "argv", ["webpage.py", *map(str, arguments)])
    monkeypatch.setattr(webpage, "ROUNDS", 1)
    webpage.main()
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "6 of 6; 0 others" in said
    assert "6 of 6 all" in said
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {f"{name}.png" for name in webpage.PICTURES}
