"""`data.json`: what is written is read, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from one_layer_lt.errors import UserError
from one_layer_lt.text.manifest import Manifest, Settings, checksums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "test.de").write_text("abc")
    settings = Settings("mine", "de", "en", "sentencepiece", 8000, False, False, True)
    pairs = {"train": 3, "valid": 2, "test": 1}
    Manifest(settings, "0" * 64, pairs, checksums(tmp_path), {"python": "3"}).write(tmp_path)
    return tmp_path


def test_round_trip(folder: Path) -> None:
    manifest = Manifest.read(folder)
    manifest.verify(folder)
    data = json.loads((folder / "data.json").read_text())
    assert data["format"] == 1
    assert data["model"] == manifest.settings.model == "spm.model"
    # sha256 of "abc", as FIPS 180-2 gives it
    assert data["sha256"] == {"raw/test.de": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    before = (folder / "data.json").read_bytes()
    manifest.write(folder)
    assert (folder / "data.json").read_bytes() == before


def test_samples_and_additions_are_named_where_there_are_some(folder: Path) -> None:
    plain = Manifest.read(folder)
    assert (plain.settings.samples, plain.added) == (1, ())
    assert not {"samples", "alpha", "seed", "added"} & set(json.loads((folder / "data.json").read_text()))
    more = replace(plain, settings=replace(plain.settings, samples=3, alpha=0.5, seed=2), added=("3 targets",))
    more.write(folder)
    assert Manifest.read(folder) == more


def test_changed_and_missing_files(folder: Path) -> None:
    (folder / "raw" / "test.de").write_text("abd")
    with pytest.raises(UserError, match=r"raw/test\.de has changed"):
        Manifest.read(folder).verify(folder)
    (folder / "raw" / "test.de").unlink()
    with pytest.raises(UserError, match=r"lacks raw/test\.de"):
        Manifest.read(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2),
        ("size", "8000"),
        ("size", True),
        ("lowercase", 0),
        ("tokenizer", "words"),
        ("pairs", {"train": 1}),
        ("pairs", None),
        ("samples", 2),  # of 3 pairs
        ("samples", 0),
        ("samples", "3"),
        ("alpha", "0.1"),
        ("added", "3 targets"),
        ("added", [3]),
        ("sha256", {"../other": "00"}),
        ("sha256", {"/etc/passwd": "00"}),
    ],
)
def test_distrusts(folder: Path, key: str, value: Any) -> None:
    data = json.loads((folder / "data.json").read_text())
    (folder / "data.json").write_text(json.dumps({**data, key: value}))
    with pytest.raises(UserError, match=r"data\.json.*prepare it again"):
        Manifest.read(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_not_a_manifest(folder: Path, text: str) -> None:
    (folder / "data.json").write_text(text)
    with pytest.raises(UserError, match=r"data\.json"):
        Manifest.read(folder)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a prepared data folder"):
        Manifest.read(tmp_path)
