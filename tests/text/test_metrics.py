"""text/metrics.py: scores of a few lines, and the intervals around them."""

from __future__ import annotations

import pytest
from sacrebleu.metrics import BLEU, CHRF

from one_layer_lt.text import metrics
from tests.cli.test_score import ENGLISH, settings

REFERENCES = [f"The {number}th man sees {number} dogs near the old house ." for number in range(40)]
HYPOTHESES = [line.replace("old ", "") if number % 3 else line for number, line in enumerate(REFERENCES)]


def test_measure() -> None:
    perfect = metrics.measure(ENGLISH, ENGLISH, settings())
    assert perfect["bleu"]["score"] == pytest.approx(100)
    assert perfect["bleu"]["brevity_penalty"] == 1
    assert perfect["chrf"]["score"] == pytest.approx(100)
    assert perfect["exact_match"] == 1
    half = metrics.measure([ENGLISH[0] + " ", ""], ENGLISH, settings())
    assert half["exact_match"] == 0.5
    assert half["bleu"]["brevity_penalty"] < 1


@pytest.mark.parametrize(("lowercase", "case", "matches"), [(False, "mixed", 0), (True, "lc", 1)])
def test_measure_minds_case_as_the_data_does(lowercase: bool, case: str, matches: float) -> None:
    found = metrics.measure([line.lower() for line in ENGLISH], ENGLISH, settings(lowercase=lowercase))
    assert f"|case:{case}|" in found["bleu"]["signature"]
    assert found["exact_match"] == matches
    assert (found["bleu"]["score"] == pytest.approx(100)) is lowercase


def test_measure_splits_languages_without_spaces() -> None:
    assert "tok:zh" in metrics.measure(["你好"], ["你好"], settings(target="zh_Hans"))["bleu"]["signature"]


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_the_interval_is_sacrebleus_and_holds_the_score(name: str) -> None:
    found = metrics.measure(HYPOTHESES, REFERENCES, settings())[name]
    metric = BLEU() if name == "bleu" else CHRF()
    plain = metric.corpus_score(HYPOTHESES, [REFERENCES])
    assert (found["score"], found["signature"]) == (plain.score, str(metric.get_signature()))
    resampled = metric.corpus_score(HYPOTHESES, [REFERENCES], n_bootstrap=1000)
    low, high = found["ci95"]
    assert f"{(low + high) / 2:.2f} ± {(high - low) / 2:.2f}" in resampled.format()
    assert found["ci95_signature"] == str(metric.get_signature())
    assert "|bs:1000|seed:12345|" in found["ci95_signature"]
    assert low < found["score"] < high


def test_equal_sentences_leave_no_doubt() -> None:
    found = metrics.measure(["a b c d e f"] * 9, ["a b c d e g"] * 9, settings())["bleu"]
    assert found["ci95"] == pytest.approx([found["score"]] * 2)
    assert found["length_ratio"] == 1


def test_older_results_say_what_they_have() -> None:
    assert metrics.in_words({"score": 38.826, "brevity_penalty": 0.9634}) == "BLEU 38.83 (brevity penalty 0.963)"
    assert metrics.in_words({"score": 58.061}, "chrF") == "chrF 58.06"
    whole = {"score": 38.826, "ci95": [37.5, 40.125], "brevity_penalty": 0.9634, "length_ratio": 0.964}
    words = "BLEU 38.83 (95% interval 37.50 to 40.12, brevity penalty 0.963, length ratio 0.964)"
    assert metrics.in_words(whole) == words
