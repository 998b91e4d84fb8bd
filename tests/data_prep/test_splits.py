"""Pairs are dropped for the reasons that are told, and no sentence is in two splits."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import corpus as recipe_corpus
from data_prep.lib import splits
from data_prep.lib.splits import Choice, split
from one_layer_lt.errors import UserError
from one_layer_lt.text.lines import read_pairs
from one_layer_lt.text.manifest import SPLITS, Manifest

from .conftest import sentences, write

Recipe = Callable[..., tuple[int, str]]
Pairs = list[tuple[str, str]]


def made(pairs: Pairs, folder: Path, choice: Choice) -> tuple[dict[str, int], dict[str, Pairs]]:
    files = {name: (folder / f"{name}.a", folder / f"{name}.b") for name in (*SPLITS, "all")}
    scratch = files.pop("all")
    counts = split(iter(pairs), files, scratch, choice)
    return counts, {name: list(read_pairs(files[name])) for name in SPLITS}


def test_what_is_dropped_and_why(tmp_path: Path) -> None:
    usual = [(f"Satz {number}", f"sentence {number}") for number in range(10)]  # (10 + 10) / (6 + 10): 1.25
    odd = [("", "x"), (" \u200b", "x"), ("a" * 31, "b"), ("Satz  1", "sentence 1"), ("a", "b" * 30), ("a" * 30, "b")]
    counts, found = made([*usual, *odd], tmp_path, Choice(longest=30, ratio=2.5, valid=2, test=3))
    assert counts == {
        "read": 16, splits.EMPTY: 2, splits.LONG: 1, splits.TWICE: 1, splits.UNLIKE: 2, splits.SHARED: 0,
        "train": 5, "valid": 2, "test": 3,
    }  # fmt: skip
    assert sorted(pair for part in found.values() for pair in part) == usual


def test_lengths_are_compared_with_what_is_usual(tmp_path: Path) -> None:
    """Of a language whose sentences are four times as short, none is unlike."""
    pairs = [(f"{number}" * 90, f"{number}" * 15) for number in range(1, 9)]  # 25 / 100
    assert made(pairs, tmp_path, Choice())[0][splits.UNLIKE] == 0
    assert made([*pairs, ("x" * 90, "x" * 90)], tmp_path, Choice())[0][splits.UNLIKE] == 1


WORDS = st.sampled_from("abcdefgh")


@given(st.lists(st.tuples(WORDS, WORDS), min_size=3, max_size=40), st.integers(1, 3), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_no_sentence_is_in_two_splits(
    tmp_path_factory: pytest.TempPathFactory, pairs: Pairs, size: int, n: int
) -> None:
    choice, folder = Choice(valid=size, test=size, seed=n), tmp_path_factory.mktemp("x")
    if len(set(pairs)) <= 2 * size:
        with pytest.raises(UserError, match=f"--valid {size} and --test {size} leave none to train on"):
            made(pairs, folder, choice)
        return
    counts, found = made(pairs, folder, choice)
    for one, other in combinations(SPLITS, 2):
        for side in (0, 1):
            assert not {pair[side] for pair in found[one]} & {pair[side] for pair in found[other]}
    assert {name: len(found[name]) for name in SPLITS} == {name: counts[name] for name in SPLITS}
    assert counts["read"] == sum(counts.values()) - counts["read"]
    assert counts["valid"] <= size
    assert (counts, found) == made(pairs, folder, choice)


@pytest.mark.usefixtures("without_fairseq")
def test_a_table_becomes_a_data_folder(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = sorted(set(sentences(80, 1)))
    table = write(tmp_path / "my.tsv", ["\t".join(pair) for pair in [*pairs, pairs[0]]])
    arguments = ["--from", table, "--source", "de", "--target", "en", "--out", tmp_path / "out", "--size", 60]
    monkeypatch.setattr("sys.argv", ["x", *map(str, arguments)])
    recipe_corpus.main()
    said = capsys.readouterr().out.splitlines()
    assert "81  read" in said
    assert " 1  dropped: the same pair again" in said
    assert len(said[-5:]) == sum(tuple(line[2:].split(" | ")) in pairs for line in said[-5:])
    manifest = Manifest.read(tmp_path / "out")
    assert (manifest.pairs["valid"], manifest.pairs["test"]) == (4, 4)
    assert recipe(recipe_corpus, *arguments) == (0, "")
    code, error = recipe(recipe_corpus, *arguments, "--seed", 2)
    assert (code, "made from other text" in error) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "a.tsv", "b.tsv", "c.tsv"], "3 files: give a TSV, a TMX"),
        (["--from", "none.tsv"], "--from none.tsv does not exist"),
        (["--from", "a.tsv", "."], "--from . is no file: two parallel files"),
        (["--from", "a.tsv", "--ratio", "1"], "--ratio 1: must be above 1"),
        (["--from", "a.tsv", "--ratio", "nan"], "--ratio nan: must be above 1"),
        (["--from", "a.tsv", "--valid", "0"], "--valid: 0 is not a whole number above 0"),
        (["--from", "a.tsv"], "only 1 pairs can be used, and --valid 1 and --test 1 leave none"),
        (["--from", "a.tsv", "b.tsv"], "a.tsv has 1 lines but b.tsv has 2"),
    ],
)
def test_what_cannot_be_split(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.tsv", ["Hund\tdog"])
    write(tmp_path / "b.tsv", ["Hund\tdog"] * 2)
    code, error = recipe(recipe_corpus, *arguments, "--source", "de", "--target", "en", "--out", "out")
    assert code == 2
    assert message in error
    assert not (tmp_path / "out").exists()
