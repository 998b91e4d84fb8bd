"""one-layer-lt distil: models' translations beside the corpus."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from fairseq.data.indexed_dataset import MMapIndexedDataset

from data_prep.lib.binary import dictionary, read_train
from fairseq_plugins.commands import distil
from fairseq_plugins.commands.reverse import reverse
from one_layer_lt.errors import UserError
from one_layer_lt.text.manifest import Manifest
from one_layer_lt.text.subwords import Subword
from tests.plugin.running import prepared, train

Model = Callable[..., Path]


def lines(folder: Path, language: str) -> list[str]:
    return list(read_train(folder, Manifest.read(folder).settings, language))


def longer(texts: list[str]) -> list[str]:
    """Other lines, all different."""
    return [line + f" {line.split()[-1]}" * number for number, line in enumerate(texts, 1)]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A checkpoint that says what it was trained on, and is no model."""

    def made(name: str, data: Path, source: str | None = None, target: str | None = None) -> Path:
        task = {"data": str(data), "source_lang": source, "target_lang": target}
        torch.save({"cfg": {"task": task}, "model": {}}, tmp_path / name)
        return tmp_path / name

    return made


def speak(monkeypatch: pytest.MonkeyPatch, said: dict[str, list[str]]) -> list[list[str]]:
    """Translations by the checkpoint's name, in place of fairseq-generate; the commands that ask for them."""
    commands: list[list[str]] = []

    def translate(command: Sequence[str], wanted: int) -> list[str]:
        commands.append(list(command))
        after = dict(zip(command, command[1:]))
        source, target = after["--source-lang"], after["--target-lang"]
        text = MMapIndexedDataset(f"{command[1]}/train.{source}-{target}.{source}")
        found = said[Path(after["--path"]).name]
        assert len(text) == len(found) == wanted
        return found

    monkeypatch.setattr(distil, "translate", translate)
    return commands


def test_each_source_gets_the_teachers_translation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    data, out = prepared(tmp_path, Subword("sentencepiece", 60)), tmp_path / "distilled"
    before = {language: lines(data, language) for language in ("xx", "yy")}
    said = [before["yy"][0], *(f"{line} {line}" for line in before["yy"][1:])]  # the first as it is already
    speak(monkeypatch, {"teacher.pt": said})
    teacher = model("teacher.pt", data)
    distil.distil([teacher], data, out, beam=5)
    assert lines(out, "xx") == before["xx"] + before["xx"]
    assert lines(out, "yy") == before["yy"] + said
    manifest = Manifest.read(out)
    manifest.verify(out)
    assert manifest.pairs == {"train": 160, "valid": 4, "test": 12}
    assert manifest.settings == Manifest.read(data).settings
    assert manifest.added[0].startswith(f"80 targets by {tmp_path.name}/teacher.pt, sha256 ")
    assert not list(tmp_path.glob("*.work"))
    with pytest.raises(UserError, match="distilled is there already"):
        distil.distil([teacher], data, out, beam=5)


def test_several_teachers_and_a_backward_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
    data, out = prepared(tmp_path, Subword("sentencepiece", 60)), tmp_path / "diverse"
    reverse(data, tmp_path / "reversed")
    sources, targets = (lines(data, language) for language in ("xx", "yy"))
    cut = " ".join("".join(targets[1].split(" ")))  # the same text, cut into letters
    assert cut != targets[1]
    first = [targets[0], cut, "", *longer(targets)[3:]]
    second = [targets[0], targets[0], *first[2:]]
    back = [sources[0], *longer(sources)[1:]]
    commands = speak(monkeypatch, {"a.pt": first, "b.pt": second, "c.pt": back})
    teachers, backward = [model("a.pt", data), model("b.pt", data)], model("c.pt", tmp_path / "reversed")
    distil.distil(teachers, data, out, beam=5, backward=backward)
    assert lines(out, "xx") == [*sources, *sources[3:], sources[1], *back[1:]]
    assert lines(out, "yy") == [*targets, *first[3:], targets[0], *targets[1:]]
    manifest = Manifest.read(out)
    manifest.verify(out)
    assert manifest.pairs["train"] == 80 + 77 + 1 + 79
    assert [entry.split(" by ")[0] for entry in manifest.added] == ["77 targets", "1 targets", "79 sources"]
    ways = [command[command.index("--source-lang") + 1 :][:3] for command in commands]
    assert ways == [["xx", "--target-lang", "yy"]] * 2 + [["yy", "--target-lang", "xx"]]


def test_samples_are_translated_once_and_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    (tmp_path / "plain").mkdir()
    plain = prepared(tmp_path / "plain", Subword("sentencepiece", 60))
    data, out = prepared(tmp_path, Subword("sentencepiece", 60, samples=3)), tmp_path / "distilled"
    sources, targets = (lines(plain, language) for language in ("xx", "yy"))
    said = [f"{line} {line}" for line in targets]
    speak(monkeypatch, {"teacher.pt": said})
    distil.distil([model("teacher.pt", plain)], data, out, beam=5)  # the dictionary is that of the plain data
    manifest = Manifest.read(out)
    manifest.verify(out)
    assert manifest.pairs["train"] == 3 * 160
    for language, expected in (("xx", sources + sources), ("yy", targets + said)):
        found = lines(out, language)
        assert found[:160] == expected
        texts = [line.replace(" ", "") for line in found]
        assert texts[:160] == texts[160:320] == texts[320:]
        if language == "xx":  # the words of the other side are pieces, and their letters not in the dictionary
            assert len({tuple(found[start : start + 160]) for start in (0, 160, 320)}) == 3


def test_models_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    data, out = prepared(tmp_path, Subword("sentencepiece", 60)), tmp_path / "distilled"
    (tmp_path / "other").mkdir()
    other = prepared(tmp_path / "other", Subword("sentencepiece", 50), languages=("yy", "xx"))
    reverse(data, tmp_path / "reversed")
    forth, back = model("forth.pt", data), model("back.pt", tmp_path / "reversed")
    said = speak(monkeypatch, {"forth.pt": lines(data, "yy"), "gone.pt": lines(data, "yy")})

    def refuse(message: str, teacher: Path, backward: Path | None = None) -> None:
        with pytest.raises(UserError, match=message):
            distil.distil([teacher], data, out, beam=5, backward=backward)

    refuse(r"back\.pt translates yy-xx: name a model of xx-yy", back)
    refuse(r"forth\.pt translates xx-yy: name a model of yy-xx", forth, forth)
    refuse(r"named\.pt translates xx-zz", model("named.pt", data, "xx", "zz"))
    refuse(r"other\.pt was trained with another dict\.yy\.txt \(in ", forth, model("other.pt", other))
    gone = model("gone.pt", tmp_path / "gone")
    refuse(r"gone\.pt was trained on .*gone, which is not here .*: put it back, or train again", forth, gone)
    refuse(r"no such checkpoint", forth, tmp_path / "none.pt")
    assert not said
    assert not list(tmp_path.glob("distilled*"))
    with caplog.at_level(logging.WARNING, "fairseq_plugins.commands.distil"):
        distil.distil([gone], data, out, beam=5)
    assert "gone, which is not here to compare" in caplog.text


def test_real_models_speak(tmp_path: Path) -> None:
    """Both directions, the other one from `one-layer-lt reverse`."""
    data, other, out = prepared(tmp_path, Subword("sentencepiece", 60)), tmp_path / "reversed", tmp_path / "out"
    reverse(data, other)
    flags = ("--no-epoch-checkpoints", "--max-tokens", "400")
    teacher = train(data, tmp_path / "run", *flags, updates=30)
    backward = train(other, tmp_path / "back", *flags, updates=30)
    distil.distil([teacher], data, out, beam=2)
    words = set(dictionary(data, "yy").symbols)
    spoken = lines(out, "yy")[80:]
    assert len(spoken) == 80
    assert any(spoken)
    assert {piece for line in spoken for piece in line.split()} <= words
    shutil.rmtree(out)
    distil.distil([teacher], data, out, beam=2, backward=backward)
    manifest = Manifest.read(out)
    manifest.verify(out)
    targets, sources = (int(entry.split()[0]) for entry in manifest.added)
    assert manifest.pairs["train"] == 80 + targets + sources
    assert 0 < sources <= 80
    assert set(lines(out, "yy")[80 + targets :]) <= set(lines(data, "yy"))
