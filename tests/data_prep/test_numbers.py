from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from data_prep import numbers
from data_prep.lib import number_phrases
from data_prep.lib.number_phrases import KINDS, Kind, Language, UnsupportedPhrase, phrase_pairs, write
from one_layer_lt.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
EN, DE, FR = Language.find("en"), Language.find("de"), Language.find("fr")


@pytest.mark.parametrize(
    ("kind", "value", "english", "german"),
    [
        ("cardinal", 21, "twenty-one", "einundzwanzig"),
        ("cardinal", 342, "three hundred and forty-two", "dreihundertzweiundvierzig"),
        ("ordinal", 3, "third", "dritte"),
        ("ordinal", 21, "twenty-first", "einundzwanzigste"),
        ("year", 1984, "nineteen eighty-four", "neunzehnhundertvierundachtzig"),
        ("year", 1905, "nineteen oh-five", "neunzehnhundertfünf"),
        ("decimal", Decimal("3.14"), "three point one four", "drei Komma eins vier"),
        ("percent", Decimal("12.5"), "12.5%", "12,5 %"),
        ("date", (date(2021, 3, 5), "long"), "March 5, 2021", "5. März 2021"),
        ("date_weekday", (date(2021, 3, 5), "full"), "Friday, March 5, 2021", "Freitag, 5. März 2021"),
        ("date_part", (date(2021, 3, 5), "yMMMM"), "March 2021", "März 2021"),
        ("date_part", (date(2021, 3, 5), "MMMEd"), "Fri, Mar 5", "Fr., 5. März"),
        ("relative", (3, "day"), "in 3 days", "in 3 Tagen"),
        ("relative", (-1, "hour"), "1 hour ago", "vor 1 Stunde"),
        ("time", time(15, 45), "3:45 PM", "15:45"),
        ("time", time(0, 5), "12:05 AM", "00:05"),
        ("quantity", (Decimal("1234.5"), "length-kilometer"), "1,234.5 kilometers", "1.234,5 Kilometer"),
        ("quantity", (1, "duration-hour"), "1 hour", "1 Stunde"),
        ("quantity_words", (17, "duration-hour"), "seventeen hours", "siebzehn Stunden"),
        ("currency", (Decimal("1234.50"), "EUR", "standard"), "€1,234.50", "1.234,50 €"),
        ("currency_name", (1, "CHF"), "1 Swiss franc", "1 Schweizer Franken"),
        ("currency_name", (Decimal("5.3"), "SEK"), "5.30 Swedish kronor", "5,30 Schwedische Kronen"),
        ("currency_words", (44, "GBP"), "forty-four British pounds", "vierundvierzig Britische Pfund"),
    ],
)
def test_phrases(kind: str, value: Any, english: str, german: str) -> None:
    assert (write(kind, value, EN), write(kind, value, DE)) == (english, german)


def test_other_languages_are_written_in_their_own_way() -> None:
    assert write("date_weekday", (date(2021, 3, 5), "full"), FR) == "vendredi 5 mars 2021"
    assert write("quantity_words", (73, "duration-hour"), FR) == "soixante-treize heures"
    assert write("time", time(15, 45), Language.find("en_GB")) == "15:45"


def test_numbers_before_a_noun_never_end_in_one_or_two() -> None:
    spelled = {number_phrases._spelled(Random(seed)) for seed in range(2_000)}
    assert spelled == {n for n in range(3, 100) if n % 10 > 2}


def test_same_text_in_every_process() -> None:
    code = "from data_prep.lib.number_phrases import phrase_pairs; print(phrase_pairs('en', 'de', 300, seed=7))"
    texts = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1]
    assert phrase_pairs("en", "de", 300, seed=8) != phrase_pairs("en", "de", 300, seed=7)


def test_every_kind_is_there_and_every_source_once_in_one_split() -> None:
    pairs = phrase_pairs("en", "de", 3_300, seed=1)
    assert {pair.kind for pair in pairs} == set(KINDS)
    splits = numbers.split_pairs(pairs)
    assert {split: len(part) for split, part in splits.items()} == {"train": 3_000, "valid": 150, "test": 150}
    sources = [pair.source for part in splits.values() for pair in part]
    assert len(sources) == len(set(sources)) == 3_300
    assert not any(re.search(r"\s\s|[^\S ]|^ | $", pair.source + "|" + pair.target) for pair in pairs)


def test_a_year_and_a_number_are_never_written_alike_with_two_translations() -> None:
    """German reads 2010 in one way, English in two."""
    pairs = phrase_pairs("de", "en", 10_000, seed=1)
    years = {write("year", n, DE): write("year", n, EN) for n in number_phrases.YEARS}
    assert years["zweitausendzehn"] == "twenty ten"
    met = [pair for pair in pairs if pair.source in years]
    assert len(met) > 100
    assert all(pair.target == years[pair.source] for pair in met if pair.kind != "ordinal")


def test_a_source_with_two_translations_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # English says (n % 10), German says n: 1 and 11 disagree.
    values = iter([1, 2, 11, 1, 2, 3, 4])
    said = Kind(1, lambda random: next(values), lambda language, n: str(n % 10 if language.code == "en" else n))
    monkeypatch.setattr(number_phrases, "KINDS", {"said": said})
    pairs = phrase_pairs("en", "de", 3, seed=1)
    assert {pair.source: pair.target for pair in pairs} == {"2": "2", "3": "3", "4": "4"}


def test_asking_for_more_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_phrases, "KINDS", {"time": KINDS["time"]})
    with pytest.raises(ValueError, match="en-de has no more than about 1440 distinct pairs"):
        phrase_pairs("en", "de", 1_441, seed=1)


def test_a_kind_that_a_language_lacks_is_passed_over() -> None:
    czech = Language.find("cs")
    with pytest.raises(UnsupportedPhrase):
        write("ordinal", 3, czech)
    kinds = {pair.kind for pair in phrase_pairs("en", "cs", 1_000, seed=1)}
    assert kinds == set(KINDS) - {"ordinal"}


@pytest.mark.parametrize("code", Language.known())
def test_every_known_language_can_be_used(code: str) -> None:
    pairs = phrase_pairs(code, "de" if code != "de" else "en", 200, seed=1)
    assert len({pair.kind for pair in pairs}) >= len(KINDS) - 3


@pytest.mark.parametrize("code", ["xx", "zh", "", "en-US", "../de", "EN_"])
def test_unknown_languages_are_refused_by_flag_and_value(code: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"--target {code!r}") + ".*both num2words and babel.* de, "):
        numbers.check_languages("en", code)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "tlh"], "error: --source 'tlh' is not known"),
        (["--pairs", "10"], "error: --pairs 10: must be at least 2200"),
        (["--seed", "one"], "--seed: invalid int value: 'one'"),
    ],
)
def test_bad_arguments_end_with_one_line_and_status_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "data_prep.numbers", "--out", str(tmp_path / "out"), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
