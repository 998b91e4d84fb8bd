"""scripts/distil.py: targets of a teacher beside those of the corpus."""

from __future__ import annotations

from pathlib import Path

import pytest
from fairseq.data import Dictionary
from fairseq.data.data_utils import load_indexed_dataset

from data_prep.lib.errors import DataError
from data_prep.lib.manifest import Manifest
from data_prep.lib.subwords import Subword
from scripts import distil
from tests.plugin.running import prepared, train


def lines(folder: Path, language: str) -> list[str]:
    dictionary = Dictionary.load(str(folder / f"dict.{language}.txt"))
    return [
        dictionary.string(line) for line in load_indexed_dataset(str(folder / f"train.xx-yy.{language}"), dictionary)
    ]


def test_each_source_gets_the_teachers_translation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out = prepared(tmp_path, Subword("sentencepiece", 60)), tmp_path / "distilled"
    before = {language: lines(data, language) for language in ("xx", "yy")}
    said = [f"{line} {line}" for line in before["yy"]]
    monkeypatch.setattr(distil, "translate", lambda command, wanted: said)
    (tmp_path / "teacher.pt").touch()
    distil.distil(tmp_path / "teacher.pt", data, out, beam=5)
    assert lines(out, "xx") == before["xx"] + before["xx"]
    assert lines(out, "yy") == before["yy"] + said
    manifest = Manifest.read(out)
    manifest.verify(out)
    assert manifest.pairs == {"train": 160, "valid": 4, "test": 12}
    assert manifest.settings == Manifest.read(data).settings
    with pytest.raises(DataError, match="distilled is there already"):
        distil.distil(tmp_path / "teacher.pt", data, out, beam=5)


def test_a_real_teacher_speaks(tmp_path: Path) -> None:
    data, out = prepared(tmp_path, Subword("sentencepiece", 60)), tmp_path / "distilled"
    checkpoint = train(data, tmp_path / "run", "--no-epoch-checkpoints", "--max-tokens", "400", updates=30)
    distil.distil(checkpoint, data, out, beam=2)
    dictionary = set(Dictionary.load(str(data / "dict.yy.txt")).symbols)
    spoken = lines(out, "yy")[80:]
    assert len(spoken) == 80
    assert any(spoken)
    assert {piece for line in spoken for piece in line.split()} <= dictionary
