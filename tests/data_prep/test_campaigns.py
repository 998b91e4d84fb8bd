"""IWSLT14 and WMT14: the whole path on invented archives, and the real evaluation files where they are at hand."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep import iwslt14, wmt14
from data_prep.lib.archive import collect
from data_prep.lib.pipeline import make_settings
from one_layer_lt.text import moses
from one_layer_lt.text.manifest import Manifest
from one_layer_lt.text.subwords import Subword

from .conftest import sentences

Recipe = Callable[..., tuple[int, str]]
DATA = Path(os.environ.get("ONE_LAYER_LT_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


def pack(path: Path, members: dict[str, list[str]]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, lines in members.items():
            content = "".join(line + "\n" for line in lines).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def xml(texts: list[str]) -> list[str]:
    inside = [f'<seg id="{number}"> {text} </seg>' for number, text in enumerate(texts, 1)]
    return ['<?xml version="1.0" encoding="UTF-8"?>', "<mteval>", "<title>No segment</title>", *inside, "</mteval>"]


def iwslt_archive(path: Path) -> tuple[Path, list[tuple[str, str]]]:
    """The archive, and the pairs of its training text that are to be kept, in order."""
    kept = [(f"Satz {n} läuft.", f"Line {n} walks.") for n in range(60)]
    kept[22] = ("Größe &amp; Maß.", "Size &amp; mass.")  # the 23rd: goes to validation
    train: dict[str, list[str]] = {"de": [], "en": []}
    for side, language in enumerate(("de", "en")):
        train[language] = [
            "<url>http://example.org</url>",
            "<keywords>a, b</keywords>",
            "<talkid>1</talkid>",
            f"<title>{kept[0][side]}</title>",
            f"<description>{kept[1][side]}</description>",
            *(pair[side] for pair in kept[2:30]),
            ("Eins zwei drei vier.", "One.")[side],  # 5 tokens to 2: over the ratio
            ("", "Nothing.")[side],
            *(pair[side] for pair in kept[30:]),
        ]
    members = {f"de-en/train.tags.de-en.{language}": lines for language, lines in train.items()}
    for number, test in enumerate(iwslt14.TESTS):
        members[f"de-en/IWSLT14.{test}.de-en.de.xml"] = xml([f"Prüfung {number} ist’s &amp; gut.", "in den USA."])
        members[f"de-en/IWSLT14.{test}.de-en.en.xml"] = xml([f"Test {number} isn’t &quot;bad&quot;.", "in the U.S."])
    return pack(path, members), kept


def test_iwslt14(tmp_path: Path, recipe: Recipe) -> None:
    archive, kept = iwslt_archive(tmp_path / "de-en.tgz")
    out = tmp_path / "out"
    assert recipe(iwslt14, "--from", archive, "--out", out, "--size", 50) == (0, "")
    manifest = Manifest.read(out)
    manifest.verify(out)
    assert manifest.pairs == {"train": 58, "valid": 2, "test": 10}  # 60 kept, of which the 23rd and 46th
    assert not manifest.settings.joined_dictionary
    assert (out / "dict.de.txt").read_text() != (out / "dict.en.txt").read_text()
    assert (out / "raw/valid.de").read_text().splitlines() == ["Größe & Maß.", kept[45][0]]
    assert (out / "tok/valid.en").read_text().splitlines() == ["size &amp; amp ; mass .", "line 45 walks ."]
    assert (out / "raw/test.en").read_text().splitlines()[:2] == ['Test 0 isn’t "bad".', "in the U.S."]
    tests = (out / "tok/test.en").read_text().splitlines()
    assert tests[:2] == ["test 0 isn &apos;t &amp; quot ; bad &amp; quot ; .", "in the u.s ."]
    assert [line.split()[1] for line in tests[::2]] == ["0", "1", "2", "3", "4"]
    assert (out / "tok/test.de").read_text().splitlines()[0] == "prüfung 0 ist &apos; s &amp; amp ; gut ."
    before = (out / "data.json").stat().st_mtime_ns
    assert recipe(iwslt14, "--out", out, "--size", 50) == (0, "")  # up to date: nothing is fetched
    assert (out / "data.json").stat().st_mtime_ns == before


@pytest.mark.usefixtures("without_fairseq")
def test_iwslt14_train_order_and_split(tmp_path: Path, recipe: Recipe) -> None:
    archive, kept = iwslt_archive(tmp_path / "de-en.tgz")
    (tmp_path / "folder").mkdir()
    archive.rename(tmp_path / "folder" / "de-en.tgz")
    assert recipe(iwslt14, "--from", tmp_path / "folder", "--out", tmp_path / "out", "--size", 50) == (0, "")
    train = (tmp_path / "out/encoded/train.en").read_text().replace("@@ ", "").splitlines()
    expected = [en for number, (_, en) in enumerate(kept, 1) if number % 23]
    assert train == [en.lower().replace(".", " .") for en in expected]


def test_iwslt14_lengths_differ(tmp_path: Path, recipe: Recipe) -> None:
    members = {f"de-en/{name}": xml(["x"]) for pair in iwslt14.PAIRS for name in pair}
    members["de-en/train.tags.de-en.de"] = ["<url>x</url>", "eins", "zwei"]
    members["de-en/train.tags.de-en.en"] = ["one"]
    archive = pack(tmp_path / "de-en.tgz", members)
    code, error = recipe(iwslt14, "--from", archive, "--out", tmp_path / "out")
    assert code == 2
    assert "train.tags.de-en.de has 2 lines but" in error
    assert not list(tmp_path.glob("out*"))


@pytest.fixture(scope="module")
def iwslt_tests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    folder = DATA / "iwslt14-eval"
    if not folder.is_dir():
        pytest.skip(f"the IWSLT14 evaluation files are not in {folder} (ONE_LAYER_LT_DATA names another folder)")
    settings = make_settings("iwslt14", "de", "en", Subword("moses-bpe", 10_000, lowercase=True), False)
    files = {path.name: path for path in folder.iterdir()}
    raw, tokens = iwslt14.evaluation(files, settings, tmp_path_factory.mktemp("iwslt14"))
    return {"raw": raw, "tok": tokens}


def test_iwslt14_published_commands(iwslt_tests: dict[str, tuple[Path, Path]]) -> None:
    """The recipe's own grep, sed and perl, on the real files, write the same bytes."""
    for language, ours in zip(("de", "en"), iwslt_tests["tok"]):
        names = " ".join(f"'{DATA}/iwslt14-eval/IWSLT14.{test}.de-en.{language}.xml'" for test in iwslt14.TESTS)
        (tokenize, *_), since = moses.tokenizer(language), moses.SINCE_SHIPPED
        script = (
            f"grep -h '<seg id' {names} | sed -e 's/<seg id=\"[0-9]*\">\\s*//g' | sed -e 's/\\s*<\\/seg>\\s*//g' | "
            f"sed -e \"s/’/'/g\" | perl '{tokenize[1]}' -q -l {language} | perl -CS -pe '{since[-1]}' | "
            "perl -CS -pe '$_ = lc'"
        )
        theirs = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
        assert ours.read_bytes() == theirs
        assert theirs.count(b"\n") == 6750


def test_iwslt14_published_size(iwslt_tests: dict[str, tuple[Path, Path]]) -> None:
    """fairseq's results on this test set give its reference length as 131,156 tokens."""
    assert len(iwslt_tests["tok"][1].read_text(encoding="utf-8").split()) == 131_156


def test_iwslt14_digests(iwslt_tests: dict[str, tuple[Path, Path]]) -> None:
    """Of the text without its last end of line, so that no later change of a tool passes unseen."""
    digests = [hashlib.sha256(path.read_bytes().removesuffix(b"\n")).hexdigest() for path in iwslt_tests["tok"]]
    assert digests == [
        "4bd4d70818c82247fabe2944aa60ef7571c256771fa250fdf2796d308b9dc1f7",
        "0d03ab6ac3556ff0df36b65ebb38cda111e6e722e3d1ce1ee9cae69fdb214a8a",
    ]


def wmt_folder(folder: Path) -> Path:
    """The five archives, each with a little invented text."""
    folder.mkdir()

    def parallel(stem: str, pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
        return {f"{stem}.de": [de for de, _ in pairs], f"{stem}.en": [en for _, en in pairs]}

    odd = [
        ("Ein „Wort“\u0007 hier – gut.", "A “word”\u0007 here – good."),  # normalised, control character to a space
        ("Zu lang zu lang zu lang zu lang.", "Short."),  # over the ratio
        ("", "Empty."),
    ]
    pack(folder / "training-parallel-europarl-v7.tgz", parallel("training/europarl-v7.de-en", sentences(20, 1)))
    pack(folder / "training-parallel-commoncrawl.tgz", parallel("commoncrawl.de-en", odd))
    nc = parallel("training/news-commentary-v12.de-en", [("Berg-Bahn.", "Hill-train."), *sentences(5, 2)])
    pack(folder / "training-parallel-nc-v12.tgz", nc)
    pack(folder / "dev.tgz", parallel("dev/newstest2013", [("Größe’s „A“.", "Size’s “A”."), ("Ja.", "Yes it is so.")]))
    sgm = {
        "test-full/newstest2014-deen-src.en.sgm": xml(["A well-known &amp; old tale."]),
        "test-full/newstest2014-deen-ref.de.sgm": xml(["Eine Geschichte."]),
    }
    pack(folder / "test-full.tgz", sgm)
    return folder


@pytest.mark.usefixtures("without_fairseq")
def test_wmt14(tmp_path: Path, recipe: Recipe) -> None:
    out = tmp_path / "out"
    assert recipe(wmt14, "--from", wmt_folder(tmp_path / "in"), "--out", out, "--size", 400) == (0, "")
    manifest = Manifest.read(out)
    assert manifest.settings.joined_dictionary
    assert manifest.settings.aggressive
    assert (manifest.settings.source, manifest.settings.target) == ("en", "de")
    assert manifest.pairs["valid"] == 2  # whole: nothing is cleaned away
    assert manifest.pairs["test"] == 1
    train = [
        dict(zip(("en", "de"), pair))
        for pair in zip(*((out / f"encoded/train.{lang}").read_text().splitlines() for lang in ("en", "de")))
    ]
    assert manifest.pairs["train"] == len(train) <= 27
    plain = [{lang: text.replace("@@ ", "") for lang, text in pair.items()} for pair in train]
    assert not any(pair["en"] in ("Short .", "Empty .") for pair in plain)
    for pair in train:
        lengths = [len(text.split()) for text in pair.values()]
        assert max(lengths) <= 1.5 * min(lengths)
    german = (out / "codes").read_text()
    assert german.startswith("#version")
    assert (out / "raw/valid.en").read_text().splitlines()[0] == "Size’s “A”."
    assert (out / "tok/valid.en").read_text().splitlines()[0] == "Size &apos;s “ A ” ."  # not normalised
    assert (out / "tok/test.en").read_text() == "A well @-@ known &amp; amp ; old tale .\n"
    assert (out / "raw/test.en").read_text() == "A well-known & old tale.\n"


def test_wmt14_training_tokens(tmp_path: Path) -> None:
    settings = make_settings("wmt14", "en", "de", Subword("moses-bpe", 10, aggressive=True))
    folder = wmt_folder(tmp_path / "in")
    pairs = [pair for pairs in wmt14.archives(12).values() for pair in pairs]
    files = collect(folder, pairs, tmp_path / "from")
    (tmp_path / "tok").mkdir()
    english, german = (p.read_text().split("\n") for p in wmt14.training(files, 12, settings, tmp_path))
    assert len(english) == len(german) == 20 + 3 + 6 + 1
    assert english[20] == "A &quot; word &quot; here - good ."
    assert german[20] == "Ein &quot; Wort &quot; hier - gut ."
    assert german[22] == ""
    assert english[23] == "Hill @-@ train ."


def test_wmt14_missing_archive(tmp_path: Path, recipe: Recipe) -> None:
    folder = wmt_folder(tmp_path / "in")
    (folder / "dev.tgz").unlink()
    code, error = recipe(wmt14, "--from", folder, "--out", tmp_path / "out")
    assert (code, "lacks newstest2013.en, newstest2013.de" in error) == (2, True)
    code, error = recipe(wmt14, "--from", folder, "--out", tmp_path / "out", "--news-commentary", 9)
    assert "news-commentary-v9.de-en.en" in error
