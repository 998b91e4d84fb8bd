"""The whole way from raw text to a data folder, and what can go wrong on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep import corpus as recipe_corpus
from data_prep import multi30k
from data_prep.lib import pipeline
from one_layer_lt.text.manifest import Manifest

from .conftest import write

ROOT = Path(__file__).resolve().parents[2]
Recipe = Callable[..., tuple[int, str]]
PAIR = ("--source", "de", "--target", "en")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_shell_to_fairseq_and_back(corpus: Path, tmp_path: Path) -> None:
    """The real thing: the wrapper, relative paths, fairseq's own reader, and the text restored."""
    write(corpus / "test.de", ["Der  Hund\u00a0läuft.", "m² … „Straße“ 漢"] + ["und"] * 5)
    command = ["bash", str(ROOT / "data_prep/corpus.sh"), "--from", "text", "--out", "data", "--size", "60", *PAIR]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    out = tmp_path / "data"
    manifest = Manifest.read(out)
    manifest.verify(out)
    assert manifest.pairs == {"train": 60, "valid": 5, "test": 7}
    assert set(manifest.sha256) == set(snapshot(out)) - {"data.json"}
    assert (out / "raw/test.de").read_text().split("\n")[:2] == ["Der Hund läuft.", "m² … „Straße“ 漢"]
    assert str(tmp_path).encode() not in b"".join(snapshot(out).values())

    from fairseq.data import Dictionary
    from fairseq.data.data_utils import load_indexed_dataset
    from fairseq.data.encoders.sentencepiece_bpe import SentencepieceBPE, SentencepieceConfig

    words = Dictionary.load(str(out / "dict.de.txt"))
    assert words.symbols == Dictionary.load(str(out / "dict.en.txt")).symbols
    bpe = SentencepieceBPE(SentencepieceConfig(sentencepiece_model=str(out / "spm.model")))
    for split, language in (("train", "de"), ("test", "de"), ("test", "en")):
        data = load_indexed_dataset(str(out / f"{split}.de-en.{language}"), words)
        assert len(data) == manifest.pairs[split]
        if split == "test":
            back = [bpe.decode(words.string(line)) for line in data]
            expected = (out / f"raw/test.{language}").read_text().splitlines()
            if language == "de":  # what training never showed is unknown: the rest comes back
                assert back[0] == expected[0]
                assert "<unk>" in back[1]
            else:
                assert back == expected


@pytest.mark.usefixtures("without_fairseq")
def test_again_is_up_to_date_and_deterministic(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    arguments = ("--from", corpus, "--size", 60, *PAIR)
    assert recipe(recipe_corpus, *arguments, "--out", tmp_path / "one") == (0, "")
    before = (tmp_path / "one" / "data.json").stat().st_mtime_ns
    assert recipe(recipe_corpus, *arguments, "--out", tmp_path / "one") == (0, "")
    assert (tmp_path / "one" / "data.json").stat().st_mtime_ns == before
    recipe(recipe_corpus, *arguments, "--out", tmp_path / "two")
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    assert not list(tmp_path.glob("*.work"))


@pytest.mark.usefixtures("without_fairseq")
def test_data_that_has_changed_is_not_up_to_date(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    arguments = ("--from", corpus, "--size", 60, *PAIR, "--out", tmp_path / "out")
    assert recipe(recipe_corpus, *arguments) == (0, "")
    changed = tmp_path / "out" / "encoded" / "train.de"
    changed.write_bytes(changed.read_bytes()[:-1])
    code, error = recipe(recipe_corpus, *arguments)
    assert code == 2
    assert f"{changed} has changed: delete {tmp_path / 'out'} and prepare it again" in error


@pytest.mark.usefixtures("without_fairseq")
def test_a_full_disk_is_one_line(corpus: Path, tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("one_layer_lt.text.subwords.encode", full)
    code, error = recipe(recipe_corpus, "--from", corpus, "--size", 60, *PAIR, "--out", tmp_path / "out")
    assert (code, error.partition("error: ")[2]) == (
        2,
        f"{tmp_path / 'out'}: No space left on device: make room on the disk, and run the same command again",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


@pytest.mark.usefixtures("without_fairseq")
def test_tokenized_lowercase(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    write(corpus / "test.de", ["Der HUND läuft."] + ["und"] * 6)
    arguments = ("--from", corpus, "--size", 30, "--tokenized", "--lowercase", *PAIR)
    assert recipe(recipe_corpus, *arguments, "--out", tmp_path / "out") == (0, "")
    out = tmp_path / "out"
    assert Manifest.read(out).settings.model == "codes"
    assert (out / "raw/test.de").read_text().splitlines()[0] == "Der HUND läuft."
    assert (out / "tok/test.de").read_text().splitlines()[0] == "der hund läuft ."
    encoded = (out / "encoded/test.de").read_text().splitlines()[0]
    assert encoded.replace("@@ ", "") == "der hund läuft ."
    assert len((out / "codes").read_text().splitlines()) == 31  # a line for the version
    assert sorted(os.listdir(out / "tok")) == ["test.de", "test.en", "valid.de", "valid.en"]


@pytest.mark.usefixtures("without_fairseq")
def test_lowercase_pieces_keep_the_references(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    arguments = ("--from", corpus, "--size", 45, "--lowercase", *PAIR, "--out", tmp_path / "out")
    assert recipe(recipe_corpus, *arguments) == (0, "")
    raw = (tmp_path / "out/raw/test.en").read_text()
    encoded = (tmp_path / "out/encoded/test.en").read_text()
    assert raw != raw.lower()
    assert encoded.replace(" ", "").replace("▁", " ").replace("\n ", "\n").strip() == raw.lower().strip()


@pytest.mark.usefixtures("without_fairseq")
def test_empty_training_sides_go_but_empty_test_sides_stay(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    (corpus / "train.de.gz").unlink()
    lines = (corpus / "train.en").read_text().splitlines()
    write(corpus / "train.de", [*lines[:-2], " \u00a0", ""])
    write(corpus / "test.de", ["", "und\r und", "und\u2028und", "und\x85und", *["und"] * 2, ""])
    recipe(recipe_corpus, "--from", corpus, "--size", 40, *PAIR, "--out", tmp_path / "out")
    assert Manifest.read(tmp_path / "out").pairs == {"train": 58, "valid": 5, "test": 7}
    assert (tmp_path / "out/raw/test.de").read_bytes() == b"\n" + b"und und\n" * 3 + b"und\nund\n" + b"\n"


@pytest.mark.usefixtures("without_fairseq")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--size", 50), "made with size 60, not 50"),
        (("--size", 60, "--lowercase"), "made with lowercase False, not True"),
        (("--size", 60, "--name", "other"), "made with corpus 'corpus', not 'other'"),
    ],
)
def test_other_settings(corpus: Path, tmp_path: Path, recipe: Recipe, flags: tuple[object, ...], message: str) -> None:
    arguments = ("--from", corpus, *PAIR, "--out", tmp_path / "out")
    recipe(recipe_corpus, *arguments, "--size", 60)
    before = snapshot(tmp_path / "out")
    code, error = recipe(recipe_corpus, *arguments, *flags)
    assert code == 2
    assert message in error
    assert "choose another --out" in error
    assert snapshot(tmp_path / "out") == before


@pytest.mark.usefixtures("without_fairseq")
def test_other_text(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    arguments = ("--from", corpus, "--size", 60, *PAIR, "--out", tmp_path / "out")
    recipe(recipe_corpus, *arguments)
    write(corpus / "test.de", ["anders"] * 7)
    code, error = recipe(recipe_corpus, *arguments)
    assert (code, "made from other text" in error) == (2, True)


def test_out_of_someone_else(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    write(tmp_path / "out" / "thesis.txt", ["mine"])
    code, error = recipe(recipe_corpus, "--from", corpus, *PAIR, "--out", tmp_path / "out")
    assert (code, "holds something else" in error) == (2, True)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine\n"


def test_interrupted_leaves_nothing_and_can_be_repeated(
    corpus: Path, tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "binarize", interrupt)
    arguments = ("--from", corpus, "--size", 60, *PAIR, "--out", tmp_path / "out")
    code, error = recipe(recipe_corpus, *arguments)
    assert (code, "run the same command again" in error) == (130, True)
    assert not (tmp_path / "out").exists()
    write(tmp_path / "out.work" / "data" / "stale", ["left by a run that was killed"])
    monkeypatch.setattr(pipeline, "binarize", lambda encoded, *_: None)
    assert recipe(recipe_corpus, *arguments) == (0, "")
    assert "stale" not in snapshot(tmp_path / "out")


def test_two_runs_at_once(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    with pipeline.workplace(tmp_path / "out"):
        code, error = recipe(recipe_corpus, "--from", corpus, *PAIR, "--out", tmp_path / "out")
    assert (code, "another run is preparing" in error) == (2, True)


def test_different_lengths(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    write(corpus / "valid.en", ["one", "two"])
    code, error = recipe(recipe_corpus, "--from", corpus, *PAIR, "--out", tmp_path / "out")
    assert code == 2
    assert "valid.de has 5 lines but" in error
    assert "valid.en has 2" in error
    assert not (tmp_path / "out").exists()


def test_missing_files(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    (corpus / "train.de.gz").unlink()
    (corpus / "test.en").unlink()
    code, error = recipe(recipe_corpus, "--from", corpus, *PAIR, "--out", tmp_path / "out")
    assert (code, error.endswith("lacks train.de, test.en (plain or .gz)")) == (2, True)


@pytest.mark.usefixtures("without_fairseq")
def test_no_side_comes_from_another_folder(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    """A folder before it in the alphabet has the German side of the test set, in another order."""
    write(tmp_path / "another" / "test.de", (corpus / "test.de").read_text().splitlines()[::-1])
    whole = (corpus / "test.de").read_text()
    assert recipe(recipe_corpus, "--from", tmp_path, "--size", 60, *PAIR, "--out", tmp_path / "out") == (0, "")
    assert (tmp_path / "out/raw/test.de").read_text() == whole
    (corpus / "test.de").unlink()
    code, error = recipe(recipe_corpus, "--from", tmp_path, "--size", 60, *PAIR, "--out", tmp_path / "other")
    assert (code, f"{tmp_path / 'another'} has test.de" in error, f"{corpus} has test.en" in error) == (2, True, True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize(
    ("german", "english", "message"),
    [([], [], "no {split} pairs are left"), (["", "  "], ["a", "b"], "{split}.de has empty lines only")],
)
def test_splits_without_text(
    corpus: Path, tmp_path: Path, recipe: Recipe, split: str, german: list[str], english: list[str], message: str
) -> None:
    write(corpus / f"{split}.de", german)
    write(corpus / f"{split}.en", english)
    code, error = recipe(recipe_corpus, "--from", corpus, "--size", 60, *PAIR, "--out", tmp_path / "out")
    assert (code, message.format(split=split) in error) == (2, True)
    assert not (tmp_path / "out").exists()


def test_archive_cut_short(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    with tarfile.open(tmp_path / "text.tgz", "w:gz") as tar:
        tar.add(corpus, "text")
    whole = (tmp_path / "text.tgz").read_bytes()
    (tmp_path / "text.tgz").write_bytes(whole[: len(whole) // 2])
    code, error = recipe(recipe_corpus, "--from", tmp_path / "text.tgz", *PAIR, "--out", tmp_path / "out")
    assert (code, "text.tgz is cut short" in error) == (2, True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--size", 0), "--size 0: must be at least 1"),
        (("--size", 99_999), "--size 99999: this text supports at most"),
        (("--size", 10), "--size 10: this text has more characters than that"),
        (("--size", "many"), "argument --size: invalid int value: 'many'"),
        (("--target", "de"), "--source and --target are both 'de'"),
        (("--target", "pt-BR"), "--target 'pt-BR': only letters, digits and _"),
        (("--target", "pt"), "lacks train.pt"),
        (("--sise", 5), "unrecognized arguments: --sise 5"),
    ],
)
def test_bad_flags(corpus: Path, tmp_path: Path, recipe: Recipe, flags: tuple[object, ...], message: str) -> None:
    code, error = recipe(recipe_corpus, "--from", corpus, *PAIR, "--out", tmp_path / "out", *flags)
    assert code == 2
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("without_fairseq")
def test_multi30k_from_a_folder(corpus: Path, tmp_path: Path, recipe: Recipe) -> None:
    for ours, theirs in (("valid", "val"), ("test", "test_2016_flickr")):
        for language in ("de", "en"):
            shutil.move(corpus / f"{ours}.{language}", corpus / f"{theirs}.{language}")
    arguments = ("--from", corpus, "--source", "en", "--target", "de", "--size", 60, "--out", tmp_path / "out")
    assert recipe(multi30k, *arguments) == (0, "")
    manifest = Manifest.read(tmp_path / "out")
    assert (manifest.settings.corpus, manifest.settings.source, manifest.settings.target) == ("multi30k", "en", "de")
    code, error = recipe(multi30k, "--source", "xx")
    assert (code, "--source 'xx' is not one of cs, de, en, fr" in error) == (2, True)
    (tmp_path / "empty").mkdir()
    code, error = recipe(multi30k, "--from", tmp_path / "empty", "--out", tmp_path / "other")
    assert (code, "lacks train.de, train.en, val.de" in error) == (2, True)


def test_help(capsys: pytest.CaptureFixture[str], recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_prep import iwslt14, wmt14

    for module in (recipe_corpus, multi30k, iwslt14, wmt14):
        monkeypatch.setattr("sys.argv", ["x", "--help"])
        with pytest.raises(SystemExit, match="0"):
            module.main()
        text = capsys.readouterr().out
        assert "--from" in text
        assert "--out" in text
