"""text/metrics.py: scores of a few lines, and the intervals around them."""

from __future__ import annotations

import importlib
import re

import pytest
from sacrebleu.metrics import BLEU, CHRF

from one_layer_lt.optional import MissingPackage
from one_layer_lt.text import metrics
from one_layer_lt.text.splitting import tokenizer_of
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


CODES = {
    "zh": ["zh", "cmn", "zho", "chi", "yue", "wuu", "zh_CN", "zh-Hans", "zho_Hans", "ZH", "yue_Hant", "ii_Hani"],
    "ja-mecab": ["ja", "jpn", "ja_JP", "jpn_Jpan"],
    "ko-mecab": ["ko", "kor", "ko-KR", "kor_Hang"],
    "char": ["th", "tha", "th_TH", "tha_Thai", "lo", "lao_Laoo", "km", "khm", "my", "mya", "bur", "bo", "bod", "shn"],
    "13a": [
        "en",
        "de_DE",
        "jav",
        "jv_Latn",
        "nan_Latn",
        "zh_Latn",
        "kok",
        "zha",
        "mye",
        "thr",
        "en_TH",
        "toy",
        "",
        "_",
    ],
}


@pytest.mark.parametrize(("tokenizer", "language"), [(name, code) for name, codes in CODES.items() for code in codes])
def test_the_tokenizer_of_a_language(tokenizer: str, language: str) -> None:
    assert tokenizer_of(language) == tokenizer


@pytest.mark.parametrize(
    ("language", "reference", "hypothesis"),
    [
        ("cmn", "一只棕色的狗在绿色的草地上奔跑。", "一只棕色的狗在绿色的草地上跑。"),
        ("th", "สุนัขสีน้ำตาลวิ่งบนสนามหญ้าสีเขียว", "สุนัขสีน้ำตาลวิ่งบนสนามหญ้าเขียว"),
        ("khm_Khmr", "ឆ្កែពណ៌ត្នោតរត់លើវាលស្មៅបៃតង", "ឆ្កែពណ៌ត្នោតរត់លើវាលស្មៅខៀវ"),
    ],
)
def test_words_without_spaces_are_found(language: str, reference: str, hypothesis: str) -> None:
    found = metrics.measure([hypothesis] * 3, [reference] * 3, settings(target=language))["bleu"]
    assert 70 < found["score"] < 100
    assert metrics.in_words(found).startswith("BLEU 8" if language == "cmn" else "BLEU of characters ")


@pytest.mark.parametrize(("language", "extra"), [("jpn", "ja"), ("ko_KR", "ko")])
def test_a_tokenizer_that_is_not_installed(language: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"sacrebleu.tokenizers.tokenizer_{extra}_mecab")
    monkeypatch.setattr(module, "MeCab", None)  # as where there is none
    said = f"BLEU of '{language}' takes sacrebleu's tokenizer {extra}-mecab: pip install 'sacrebleu[{extra}]'"
    with pytest.raises(MissingPackage, match=re.escape(said) + "$"):
        metrics.bleu_of(settings(target=language))


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
