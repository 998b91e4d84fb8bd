from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from data_prep import interface
from one_layer_lt.errors import UserError
from one_layer_lt.files import sha256

ROOT = Path(__file__).resolve().parents[2]

LAMP = {
    "title": "Lamp",
    "state": {"on": "Lamp {name} is on", "off": "Lamp {name} is off", "none": "", "same": "[%key:common::same%]"},
    "text": "Two lines\nof  text",
    "only_english": "Not translated yet",
}
LAMPE = {
    "title": "Lamp",
    "state": {"on": "Lampe {name} ist an", "off": "Lampe {name} ist aus", "none": "nichts", "same": "[%key:x%]"},
    "text": "Zwei Zeilen\n\nText",
    "only_german": "Nur hier",
}
FAN = {"a": "Speed", "b": "SPEED", "c": "speed", "on": {"title": "Fan"}}
LUEFTER = {"a": "Tempo", "b": "Stufe", "c": "Tempo", "on": {"title": "Lüfter"}}


def make_wheel(path: Path, files: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, (str, bytes)) else json.dumps(content))
    return path


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = make_wheel(
        tmp_path / interface.WHEEL,
        {
            "pack/lamp/translations/en.json": LAMP,
            "pack/lamp/translations/de.json": LAMPE,
            "pack/fan/translations/en.json": FAN,
            "pack/fan/translations/de.json": LUEFTER,
            "pack/fan/translations/sensor.de.json": {"a": "Irrtum"},
            "pack/bell/translations/en.json": {"title": "Bell"},
            "pack/bell/translations/pt-BR.json": {"title": "Campainha"},
            "pack/bell/strings.json": {"title": "Nothing"},
        },
    )
    monkeypatch.setattr(interface, "SHA256", sha256(path))
    return path


def test_texts_are_paired_by_file_and_keys(wheel: Path) -> None:
    assert interface.read_wheel(wheel, "en", "de") == {
        "Lamp {name} is on": "Lampe {name} ist an",
        "Lamp {name} is off": "Lampe {name} ist aus",
        "Two lines of text": "Zwei Zeilen Text",
        "Speed": "Tempo",
        "Fan": "Lüfter",
    }


@pytest.mark.parametrize("code", ["pt_BR", "pt-BR"])
def test_regions(wheel: Path, code: str) -> None:
    assert interface.read_wheel(wheel, "en", code) == {"Bell": "Campainha"}


def test_the_most_frequent_translation_wins_and_then_the_first() -> None:
    pairs = [("On", "An"), ("on", "ein"), ("ON", "EIN"), ("on", "ein"), ("Off", "Aus"), ("OFF", "AUS")]
    assert interface.deduplicated(pairs) == {"on": "ein", "Off": "Aus"}


def test_splits_depend_on_the_source_alone() -> None:
    pairs = {f"Text {n}": f"Satz {n}" for n in range(2_000)}
    splits = interface.split_pairs(pairs)
    assert sorted(pair for part in splits.values() for pair in part) == sorted(pairs.items())
    assert [source for source, _ in splits["test"][:3]] == ["Text 0", "Text 31", "Text 44"]
    for split in ("valid", "test"):
        assert 120 < len(splits[split]) < 200
    other = interface.split_pairs({source.upper(): "..." for source in reversed(pairs)})
    for split, part in splits.items():
        assert {source.upper() for source, _ in part} == {source for source, _ in other[split]}


def test_command_hands_the_splits_to_the_pipeline(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def prepare(**settings: Any) -> None:
        seen.update(settings)
        for part in settings["raw"].values():
            seen.setdefault("lines", []).extend(zip(*(path.read_text("utf-8").splitlines() for path in part)))

    monkeypatch.setattr(interface, "prepare", prepare)
    arguments = ["--from", str(tmp_path), "--target", "pt-BR", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["interface", *arguments])
    interface.main()
    assert (seen["corpus"], seen["source"], seen["target"]) == ("interface", "en", "pt_BR")
    assert seen["lines"] == [("Bell", "Campainha")]
    assert set(seen["raw"]) == {"train", "valid", "test"}


def test_a_download_that_is_there_is_not_repeated(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface.subprocess, "run", None)
    assert interface.download(wheel.parent) == wheel


def test_a_failed_download_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:3] == ["-m", "pip"]
        return subprocess.CompletedProcess(command, 1, stderr="WARNING: slow\nERROR: No matching distribution\n")

    monkeypatch.setattr(interface.subprocess, "run", run)
    with pytest.raises(UserError, match=r"pip could not download .*: ERROR: No matching distribution: .*--from"):
        interface.download(tmp_path)


def test_unknown_language_lists_those_there(wheel: Path) -> None:
    with pytest.raises(UserError, match=re.escape("--target 'xx' is not one of de, en, pt_BR")):
        interface.read_wheel(wheel, "en", "xx")


def test_json_that_is_none_is_named(tmp_path: Path) -> None:
    files = {"p/translations/en.json": '{"a": "b"', "p/translations/de.json": "{}"}
    with pytest.raises(UserError, match=r"p/translations/en\.json in the wheel is not valid JSON"):
        interface.read_wheel(make_wheel(tmp_path / "x.whl", files), "en", "de")


def test_a_file_beyond_all_bounds_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface, "LARGEST", 1_000)
    files = {"p/translations/en.json": b" " * 1_001 + b"{}", "p/translations/de.json": "{}"}
    with pytest.raises(UserError, match=r"p/translations/en\.json in the wheel has 1,003 bytes"):
        interface.read_wheel(make_wheel(tmp_path / "x.whl", files), "en", "de")


def test_a_damaged_archive(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-200])
    with pytest.raises(UserError, match="cut short or damaged"):
        interface.read_wheel(wheel, "en", "de")


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"PK\x03\x04 and then nothing", "", f"{interface.WHEEL} is cut short or another release"),
        (None, "", f"there is no {interface.WHEEL}"),
        (None, "absent.whl", "there is no such file"),
    ],
)
def test_bad_from_ends_with_one_line_and_status_2(
    tmp_path: Path, content: bytes | None, place: str, message: str
) -> None:
    if content:
        (tmp_path / interface.WHEEL).write_bytes(content)
    command = [sys.executable, "-m", "data_prep.interface", "--from", str(tmp_path / place)]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
