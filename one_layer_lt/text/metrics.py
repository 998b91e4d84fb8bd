"""BLEU and chrF of translations, with the interval that the choice of the test set's sentences leaves them in."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest, Result

from ..optional import MissingPackage
from .manifest import Settings
from .splitting import tokenizer_of

logging.getLogger("sacrebleu").setLevel(logging.WARNING)  # its tests tell of every step


def bleu_of(settings: Settings) -> BLEU:
    """The BLEU that detokenised text of a data folder is scored by.

    Raises ``MissingPackage`` where what finds the words of its target language is not installed.
    """
    tokenizer = tokenizer_of(settings.target)
    try:
        return BLEU(lowercase=settings.lowercase, tokenize=tokenizer)
    except RuntimeError as error:  # sacrebleu's word for it
        extra = tokenizer.partition("-")[0]
        raise MissingPackage(
            f"BLEU of {settings.target!r} takes sacrebleu's tokenizer {tokenizer}: pip install 'sacrebleu[{extra}]'"
        ) from error


def measure(hypotheses: Sequence[str], references: Sequence[str], settings: Settings) -> dict[str, Any]:
    """BLEU, chrF and the rate of exact matches, on detokenised text."""
    low = settings.lowercase
    same = sum(_cased(a, low) == _cased(b, low) for a, b in zip(hypotheses, references))
    return {
        "bleu": measured(bleu_of(settings), hypotheses, references),
        "chrf": measured(CHRF(lowercase=low), hypotheses, references),
        "exact_match": same / len(references),
    }


def measured(metric: BLEU | CHRF, hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """What a metric says: the score and its signature, and for BLEU the brevity penalty and the length ratio.

    `ci95`: the ends of the 95% interval, of as many resamples, by such a seed, as `ci95_signature` records.
    `length_ratio`: tokens of the hypotheses over those of the references.
    """
    found = metric.corpus_score(list(hypotheses), [list(references)])
    result: dict[str, Any] = {"score": found.score, "signature": str(metric.get_signature())}
    if isinstance(metric, BLEU):
        result.update(brevity_penalty=found.bp, length_ratio=found.ratio)
    signature, (resampled,) = paired_test({"": hypotheses}, metric, references, "bs")
    return {**result, "ci95": interval(resampled), "ci95_signature": signature}


def paired_test(
    systems: Mapping[str, Sequence[str]], metric: BLEU | CHRF, references: Sequence[str], test: str, samples: int = 0
) -> tuple[str, list[Any]]:
    """sacrebleu's paired test of hypotheses against those of the first system: its signature, and a `Result` of each.

    test: `bs`, the bootstrap, or `ar`, approximate randomisation. samples: 0 for 1,000 of the one, 10,000 of the other.
    """
    named: list[tuple[str, Sequence[str]]] = [(name, list(hypotheses)) for name, hypotheses in systems.items()]
    signatures, results = PairedTest(named, {"": metric}, [list(references)], test, samples)()
    ((name, signature),) = signatures.items()
    return str(signature), results[name]


def interval(result: Result) -> list[float]:
    """The ends of a 95% interval: sacrebleu's half width to both sides of the mean of its resamples."""
    if result.mean is None or result.ci is None:
        raise ValueError("a result without resamples has no interval")
    return [float(result.mean - result.ci), float(result.mean + result.ci)]


def in_words(result: Mapping[str, Any], name: str = "BLEU") -> str:
    """What was measured, in words; of an older result, what it has."""
    words = []
    if "ci95" in result:
        words.append("95% interval {:.2f} to {:.2f}".format(*result["ci95"]))
    words += [
        f"{key.replace('_', ' ')} {result[key]:.3f}" for key in ("brevity_penalty", "length_ratio") if key in result
    ]
    name += " of characters" if "|tok:char|" in result.get("signature", "") else ""
    return f"{name} {result['score']:.2f}" + (f" ({', '.join(words)})" if words else "")


def _cased(text: str, lowercase: bool) -> str:
    return text.strip().lower() if lowercase else text.strip()
