"""`--samples`: the training text cut into other sentencepieces each time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from data_prep import corpus as recipe_corpus
from data_prep import iwslt14, multi30k, numbers
from data_prep.lib import pipeline
from data_prep.lib.binary import read_train
from one_layer_lt.text.manifest import Manifest
from one_layer_lt.text.sampling import sampler
from one_layer_lt.text.subwords import Subword, encoder, learn
from tests.plugin.running import binarised

from .conftest import sentences, write

Recipe = Callable[..., tuple[int, str]]
PAIR = ("--source", "de", "--target", "en")
LETTERS = {"▁": -3.0, "a": -2.0, "b": -2.5, "c": -1.0, "▁a": -1.5, "ab": -1.2, "bc": -4.0, "abc": -0.5, "▁ca": -2.2}


@pytest.mark.parametrize(("alpha", "whole"), [(1.0, 8 / 9), (0.5, 0.7388), (0.0, 1 / 2)])
def test_by_hand(alpha: float, whole: float) -> None:
    """One word is one piece of probability 1/2 or two of 1/4 each, which make 1/16."""
    draw = sampler({"a": math.log(1 / 4), "b": math.log(1 / 4), "ab": math.log(1 / 2)}, alpha)
    chance = Random(1)
    counts = Counter(draw("a b", chance) for _ in range(10_000))
    assert set(counts) == {"ab", "a b"}
    assert counts["ab"] / 10_000 == pytest.approx(whole, abs=0.015)


def test_every_process_draws_the_same() -> None:
    chance = Random("1 1 de")
    draw = sampler(LETTERS, 0.5)
    assert [draw("▁a bc ▁ca ab", chance) for _ in range(3)] == ["▁a b c ▁ca a b", "▁ abc ▁ c a ab", "▁ abc ▁ca ab"]


@given(st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=6), st.floats(0, 2), st.integers())
def test_the_text_stays(words: list[str], alpha: float, seed: int) -> None:
    line = "".join(f"▁{word}" for word in words)
    cut = sampler(LETTERS, alpha)(" ".join(line), Random(seed)).split(" ")
    assert "".join(cut) == line
    assert set(cut) <= set(LETTERS)


@pytest.mark.parametrize("line", ["▁a <unk> ▁b c", "▁a ▁xyz", "", "▁a b x"])
def test_what_has_no_scores_stays(line: str) -> None:
    draw = sampler({**LETTERS, **dict.fromkeys("<unk>", -1.0)}, 0.0)
    assert {draw(line, Random(seed)) for seed in range(20)} == {line}


def test_the_surest_draw_is_sentencepieces_best(tmp_path: Path) -> None:
    texts = [line for pair in sentences(200, 5) for line in pair]
    files = write(tmp_path / "a", texts[::2]), write(tmp_path / "b", texts[1::2])
    subword, model = Subword("sentencepiece", 70), tmp_path / "spm.model"
    learn(subword, files, model)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    draw = sampler({pieces.id_to_piece(n): pieces.get_score(n) for n in range(3, len(pieces))}, 1000.0)
    best = list(encoder(subword, model.read_bytes())(texts))
    assert [draw(" ".join("".join(line.split())), Random(1)) for line in best] == best


def lines(folder: Path, language: str) -> list[str]:
    return list(read_train(folder, Manifest.read(folder).settings, language))


def test_copies(
    corpus: Path,
    tmp_path: Path,
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING", "fairseq_cli.preprocess")  # its log would name the folder
    monkeypatch.setattr(pipeline, "binarize", binarised)
    write(corpus / "train.en", [de for de, _ in sentences(60, 0)])  # as the German side: its samples shall be its own
    arguments = ("--from", corpus, "--size", 60, *PAIR)
    assert recipe(recipe_corpus, *arguments, "--out", tmp_path / "plain") == (0, "")
    sampled = (*arguments, "--out", tmp_path / "sampled", "--samples", 3)
    assert recipe(recipe_corpus, *sampled) == (0, "")
    plain, made = (Manifest.read(tmp_path / name) for name in ("plain", "sampled"))
    made.verify(tmp_path / "sampled")
    assert made.pairs == {"train": 180, "valid": 5, "test": 7}
    assert (made.settings.samples, made.settings.alpha, made.settings.seed) == (3, 0.2, 1)
    assert not {"samples", "alpha", "seed", "added"} & set((tmp_path / "plain/data.json").read_text().split('"'))
    changed = {name for name in plain.sha256 if plain.sha256[name] != made.sha256[name]}
    assert changed == {f"train.de-en.{language}.{part}" for language in ("de", "en") for part in ("bin", "idx")}
    copies = {}
    for language in ("de", "en"):
        found = lines(tmp_path / "sampled", language)
        assert found[:60] == lines(tmp_path / "plain", language)
        copies[language] = found[:60], found[60:120], found[120:]
        texts = [[line.replace(" ", "") for line in copy] for copy in copies[language]]
        assert texts[0] == texts[1] == texts[2]
        assert not any("<unk>" in line for line in found)
    different = [copies["de"][1], copies["de"][2], copies["en"][1], copies["en"][2], copies["de"][0]]
    assert len(set(map(tuple, different))) == 5
    before = (tmp_path / "sampled/data.json").stat().st_mtime_ns
    assert recipe(recipe_corpus, *sampled) == (0, "")
    assert (tmp_path / "sampled/data.json").stat().st_mtime_ns == before
    assert recipe(recipe_corpus, *arguments, "--samples", 3, "--out", tmp_path / "again") == (0, "")
    assert Manifest.read(tmp_path / "again") == made
    code, error = recipe(recipe_corpus, *sampled, "--alpha", 0.5)
    assert (code, "made with alpha 0.2, not 0.5" in error) == (2, True)
    code, error = recipe(recipe_corpus, *arguments, "--out", tmp_path / "sampled")
    assert (code, "made with samples 3, not 1" in error) == (2, True)


@pytest.mark.parametrize("module", [recipe_corpus, multi30k])
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--tokenized", "--samples", 2), "--samples 2 needs sentencepieces: leave out --tokenized"),
        (("--samples", 0), "--samples 0: must be at least 1"),
        (("--alpha", 0.5), "--alpha 0.5 needs --samples of 2 or more"),
        (("--samples", 2, "--alpha", -1), "--alpha -1: must be a number from 0 on"),
        (("--samples", 2, "--alpha", "nan"), "--alpha nan: must be a number from 0 on"),
    ],
)
def test_refused(
    module: object, corpus: Path, tmp_path: Path, recipe: Recipe, flags: tuple[object, ...], message: str
) -> None:
    code, error = recipe(module, "--from", corpus, *PAIR, "--out", tmp_path / "out", *flags)
    assert (code, error) == (2, f"error: {message}")
    assert not (tmp_path / "out").exists()


def test_flags_of_other_recipes(tmp_path: Path, recipe: Recipe) -> None:
    code, error = recipe(iwslt14, "--samples", 2, "--out", tmp_path / "out")
    assert (code, "--samples 2" in error) == (2, True)
    code, error = recipe(numbers, "--samples", 0, "--out", tmp_path / "out")
    assert (code, "--samples 0: must be at least 1" in error) == (2, True)
