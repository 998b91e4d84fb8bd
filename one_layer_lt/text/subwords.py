"""Joint subword models: sentencepiece on raw text, or byte pair encoding (subword-nmt) on tokenised text."""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Callable

from ..errors import UserError
from ..optional import need
from ..progress import progress
from .lines import read_lines
from .manifest import ALPHA, MODELS

log = logging.getLogger(__name__)

SAMPLE = 2_000_000  # sentences: sentencepiece holds in memory what it learns from
BATCH = 2_000


@dataclass(frozen=True)
class Subword:
    """How text becomes units: `sentencepiece` (size: pieces) or `moses-bpe` (size: merges)."""

    kind: str
    size: int
    lowercase: bool = False
    aggressive: bool = False  # Moses' aggressive hyphen splitting
    samples: int = 1  # segmentations of each training sentence
    alpha: float = ALPHA  # of the sampled ones: 0, all are as likely; 1, as likely as the model has it

    def __post_init__(self) -> None:
        if self.kind not in MODELS:
            raise UserError(f"subword kind {self.kind!r} is not one of {', '.join(MODELS)}")
        if self.size < 1:
            raise UserError(f"--size {self.size}: must be at least 1")
        if self.aggressive and self.kind != "moses-bpe":
            raise UserError("aggressive hyphen splitting is Moses': it needs kind 'moses-bpe'")
        if self.samples < 1:
            raise UserError(f"--samples {self.samples}: must be at least 1")
        if self.samples > 1 and self.kind != "sentencepiece":
            raise UserError(f"--samples {self.samples} needs sentencepieces: leave out --tokenized")
        if self.alpha != ALPHA and self.samples == 1:
            raise UserError(f"--alpha {self.alpha:g} needs --samples of 2 or more")
        if not 0 <= self.alpha < math.inf:
            raise UserError(f"--alpha {self.alpha:g}: must be a number from 0 on")


def learn(subword: Subword, texts: tuple[Path, Path], model: Path) -> None:
    """Learn one model from both languages and write it to `model`."""
    if subword.kind == "sentencepiece":
        _learn_sentencepiece(subword.size, texts, model)
    else:
        _learn_bpe(subword.size, texts, model)


def encode(subword: Subword, model: Path, source: Path, target: Path) -> None:
    """Write `source` as units separated by spaces."""
    with target.open("w", encoding="utf-8", newline="\n") as file, progress(target.name) as bar:
        for line in encoder(subword, model.read_bytes())(read_lines(source)):
            file.write(line + "\n")
            bar.update()


def encoder(subword: Subword, model: bytes) -> Callable[[Iterable[str]], Iterator[str]]:
    """What turns lines into units separated by spaces; ``model`` is the content of the subword model's file.

    Raises ``ValueError`` or ``RuntimeError`` where it is none, ``MissingPackage`` where what reads it is not installed.
    """
    if subword.kind == "sentencepiece":
        pieces = need("sentencepiece", "translate").SentencePieceProcessor(model_proto=model)
        return lambda lines: (
            " ".join(line) for batch in _batches(lines) for line in pieces.encode(batch, out_type=str, num_threads=1)
        )
    codes = model.decode("utf-8")
    _check_codes(codes)
    merges = need("subword_nmt.apply_bpe", "data").BPE(io.StringIO(codes, newline="\n"))
    return lambda lines: (merges.process_line(line) for line in lines)


def _check_codes(codes: str) -> None:
    """Raises ``UserError`` for a version that subword-nmt would never have done reading, and for lines of no merge."""
    first, *merges = codes.rstrip("\n").split("\n")
    if not first.startswith("#version:"):
        merges.insert(0, first)
    elif not re.fullmatch(r"#version: \d{1,3}(\.\d{1,3}){0,3}\s*", first):
        raise UserError(f"the BPE codes are of no version, but begin with {first!r:.60}")
    for merge in merges:
        if len(merge.strip("\r\n ").split(" ")) != 2:
            raise UserError(f"the BPE codes hold {merge!r:.60}, which is no pair of units")


def joined(kind: str, units: str) -> str:
    """The text that was cut into units separated by spaces; of `moses-bpe`, as it was tokenised."""
    if kind == "sentencepiece":
        return units.replace(" ", "").replace("\u2581", " ").strip()
    return (units + " ").replace("@@ ", "").rstrip()


def _learn_sentencepiece(size: int, texts: tuple[Path, Path], model: Path) -> None:
    import sentencepiece

    counts = [sum(1 for _ in read_lines(path)) for path in texts]
    step = -(-sum(counts) // SAMPLE)  # a corpus beyond the sample is thinned evenly
    lines = islice(chain.from_iterable(map(read_lines, texts)), 0, None, step)
    trained = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,  # an iterator, not files: their names would end up in the model
            model_writer=trained,
            model_type="unigram",
            vocab_size=size,
            character_coverage=1.0,
            normalization_rule_name="identity",  # so that decoding restores the text: NFKC turns m² into m2
            num_threads=1,  # the same text, the same model
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(_sentencepiece_complaint(size, str(error))) from error
    model.write_bytes(trained.getvalue())


def _sentencepiece_complaint(size: int, said: str) -> str:
    if limit := re.search(r"Vocabulary size too high.*<= (\d+)", said):
        return f"--size {size}: this text supports at most {limit[1]} sentencepieces: ask for fewer"
    if least := re.search(r"Vocabulary size is smaller than required_chars. \d+ vs (\d+)", said):
        return f"--size {size}: this text has more characters than that: ask for more than {least[1]}"
    return f"--size {size}: sentencepiece could not learn from this text: {said}"


def _learn_bpe(size: int, texts: tuple[Path, Path], model: Path) -> None:
    with model.open("w", encoding="utf-8", newline="\n") as file:
        need("subword_nmt.learn_bpe", "data").learn_bpe(chain.from_iterable(map(read_lines, texts)), file, size)
    with model.open(encoding="utf-8") as file:
        learnt = sum(1 for _ in file) - 1  # the first line is the version
    if learnt < size:
        log.warning("the text supports only %d of the %d merges asked for", learnt, size)


def _batches(lines: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(lines)
    while batch := list(islice(rest, BATCH)):
        yield batch
