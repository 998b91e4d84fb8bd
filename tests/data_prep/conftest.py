"""Small invented corpora, and a recipe's command line run in this process."""

from __future__ import annotations

import gzip
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_prep.lib import cli, pipeline

WORDS = {
    "der": "the", "die": "these", "hund": "dog", "katze": "cat", "sieht": "sees", "jagt": "chases", "Frau": "woman",
    "Straße": "street", "über": "over", "und": "and", "groß": "big", "läuft": "walks", "Ball": "ball", "rot": "red",
}  # fmt: skip


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Invented German-English pairs, word for word."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        words = draw.choices(list(WORDS), k=draw.randint(2, 8))
        made.append((" ".join(words).capitalize() + ".", " ".join(WORDS[word] for word in words).capitalize() + "."))
    return made


def write(path: Path, lines: list[str]) -> Path:
    """Lines as a file, gzip if its name says so."""
    text = "".join(line + "\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with {train,valid,test}.{de,en}; train.de is gzip."""
    folder = tmp_path / "text"
    for seed, (split, count) in enumerate({"train": 60, "valid": 5, "test": 7}.items()):
        pairs = sentences(count, seed)
        write(folder / f"{split}.{'de.gz' if split == 'train' else 'de'}", [de for de, _ in pairs])
        write(folder / f"{split}.en", [en for _, en in pairs])
    return folder


@pytest.fixture
def without_fairseq(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of being binarised, the encoded text is kept: quicker, and readable."""

    def keep(encoded: Path, source: str, target: str, out: Path, joined_dictionary: bool) -> None:
        shutil.copytree(encoded, out / "encoded")

    monkeypatch.setattr(pipeline, "binarize", keep)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a recipe's `main` with these arguments: its exit code, and its last line on stderr."""

    def run(module: Any, *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            cli.run(module.main)
        said = capsys.readouterr().err.splitlines()
        errors = [line for line in said if "error:" in line]
        assert len(errors) <= 1
        assert not any("Traceback" in line for line in said)
        return int(leaving.value.code or 0), errors[0] if errors else ""

    return run
