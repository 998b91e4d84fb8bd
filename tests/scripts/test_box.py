"""The tickets that come with the package are made of trained runs, and say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fairseq_plugins.commands import export as exporting
from one_layer_lt import load_ticket
from scripts import box
from scripts.study import Run

GOLDEN = Path(__file__).parents[1] / "golden" / "tickets"
RUN = Run("box", "signs xx-yy", 1, {}, "data-bin/toy.xx-yy")
TEST: dict[str, Any] = {
    "sentences": 2000,
    "beam": 5,
    "lenpen": 1.5,
    "bleu": {"score": 41.456, "signature": "nrefs:1"},
    "chrf": {"score": 60.0, "signature": "nc:6"},
}


def test_a_ticket_and_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "find_checkpoint", lambda folder, last: (folder / "best.pt", None))
    monkeypatch.setattr(
        exporting, "from_checkpoint", lambda *_: load_ticket(GOLDEN / "translation-sentencepiece.ticket")
    )
    path = box.make(RUN, {"test": TEST, "commit": {"hash": "c0ffee"}}, tmp_path)
    assert path == tmp_path / "xx-yy.ticket"
    card = load_ticket(path).card
    assert (card["name"], card["languages"], card["data"]) == ("tatoeba.xx-yy", ["xx", "yy"], [box.DATA])
    on = "2,000 test sentences, beam 5, length penalty 1.5"
    assert card["scores"] == [
        {"metric": "BLEU", "value": 41.46, "on": on, "signature": "nrefs:1"},
        {"metric": "chrF", "value": 60.0, "on": on, "signature": "nc:6"},
    ]
    assert card["command"] == "python scripts/sweep.py scripts/studies/box.toml, commit c0ffee"
